// topseg._native: the network, the tail and the lean loss for Python, on any object with a
// contiguous buffer (no NumPy headers, no torch). Written against the limited API, so that one
// binary serves all Pythons from 3.11 on.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "topseg/loss.hpp"
#include "topseg/resize.hpp"
#include "topseg/tail.hpp"
#ifndef TOPSEG_NO_NETWORK
#include "topseg/model.hpp"
#endif

namespace {

using topseg::Path;

const char* name_of(Path path) {
    if (path == Path::avx2) return "avx2";
#ifdef __ARM_NEON
    return "neon";
#else
    return "portable";
#endif
}

Path path_of(const char* name) {
    return std::strcmp(name, name_of(Path::avx2)) ? Path::portable : Path::avx2;
}

// A contiguous buffer, or null for None, released at the end of the scope.
struct Buffer {
    Py_buffer view{};

    ~Buffer() {
        if (view.obj) PyBuffer_Release(&view);
    }

    // Sets a Python error unless the object has as many bytes as are expected.
    bool open(PyObject* object, int flags, std::size_t items, std::size_t item_bytes) {
        if (object == Py_None) return true;
        if (PyObject_GetBuffer(object, &view, flags)) return false;
        if (static_cast<std::size_t>(view.len) == items * item_bytes) return true;
        PyErr_SetString(PyExc_ValueError, "a buffer's size does not match the shapes");
        return false;
    }

    template <class T>
    T* as() const {
        return static_cast<T*>(view.buf);
    }
};

// Runs without the interpreter's lock; false if it threw, with a Python error set.
template <class Work>
bool run_unlocked(const Work& work) {
    enum { fine, refused, exhausted } outcome = fine;
    Py_BEGIN_ALLOW_THREADS try { work(); } catch (const std::invalid_argument&) {
        outcome = refused;
    } catch (const std::bad_alloc&) {
        outcome = exhausted;
    }
    Py_END_ALLOW_THREADS if (outcome == exhausted) PyErr_NoMemory();
    if (outcome == refused)
        PyErr_SetString(PyExc_ValueError, "a size is below 1 or the code path is not supported");
    return outcome == fine;
}

PyObject* paths(PyObject*, PyObject*) {
    if (!topseg::supported(Path::avx2)) return Py_BuildValue("(s)", name_of(Path::portable));
    return Py_BuildValue("(ss)", name_of(Path::avx2), name_of(Path::portable));
}

PyObject* resize_image(PyObject*, PyObject* arguments) {
    PyObject *image_object, *out_object;
    topseg::Size from, to;
    int channels;
    if (!PyArg_ParseTuple(arguments, "O(iii)O(ii)", &image_object, &from.height, &from.width,
                          &channels, &out_object, &to.height, &to.width))
        return nullptr;
    const auto bytes = [&](topseg::Size size) {
        return std::size_t(size.height) * std::size_t(size.width) * std::size_t(channels);
    };
    if (std::min({from.height, from.width, to.height, to.width, channels}) < 1) {
        PyErr_SetString(PyExc_ValueError, "a size is below 1");
        return nullptr;
    }
    if (image_object == Py_None || out_object == Py_None) {
        PyErr_SetString(PyExc_TypeError, "image and out: expected buffers, got None");
        return nullptr;
    }
    Buffer image, out;
    if (!image.open(image_object, PyBUF_SIMPLE, bytes(from), 1) ||
        !out.open(out_object, PyBUF_WRITABLE, bytes(to), 1))
        return nullptr;
    const bool fine = run_unlocked([&] {
        topseg::resize_image(image.as<const std::uint8_t>(), from,
                             std::ptrdiff_t(from.width) * channels, channels, to,
                             out.as<std::uint8_t>());
    });
    if (!fine) return nullptr;
    Py_RETURN_NONE;
}

PyObject* upsample_argmax(PyObject*, PyObject* arguments) {
    PyObject *logits_object, *mask_object, *probability_object;
    int batch, classes, height, width, rows, columns, threads;
    const char* path;
    if (!PyArg_ParseTuple(arguments, "O(iiii)O(ii)Ois", &logits_object, &batch, &classes, &height,
                          &width, &mask_object, &rows, &columns, &probability_object, &threads,
                          &path))
        return nullptr;
    const std::size_t pixels = std::size_t(batch) * rows * columns;
    const std::size_t samples = std::size_t(batch) * classes * height * width;
    const bool wide = classes > 255;
    Buffer logits, mask, probability;
    if (!logits.open(logits_object, PyBUF_SIMPLE, samples, sizeof(float)) ||
        !mask.open(mask_object, PyBUF_WRITABLE, pixels, wide ? 2 : 1) ||
        !probability.open(probability_object, PyBUF_WRITABLE, pixels, sizeof(float)))
        return nullptr;
    const topseg::Logits source{logits.as<const float>(), batch, classes, height, width};
    const bool fine = run_unlocked([&] {
        if (wide)
            topseg::upsample_argmax(source, rows, columns, mask.as<std::uint16_t>(),
                                    probability.as<float>(), threads, path_of(path));
        else
            topseg::upsample_argmax(source, rows, columns, mask.as<std::uint8_t>(),
                                    probability.as<float>(), threads, path_of(path));
    });
    if (!fine) return nullptr;
    Py_RETURN_NONE;
}

PyObject* cross_entropy(PyObject*, PyObject* arguments) {
    PyObject *logits_object, *gradient_object, *target_object, *weights_object, *loss_object;
    topseg::CrossEntropy job{};
    int channels_last, threads;
    const char* path;
    if (!PyArg_ParseTuple(arguments, "OO(iiii)pO(ii)iOfOis", &logits_object, &gradient_object,
                          &job.batch, &job.classes, &job.height, &job.width, &channels_last,
                          &target_object, &job.target_height, &job.target_width, &job.ignore_index,
                          &weights_object, &job.label_smoothing, &loss_object, &threads, &path))
        return nullptr;
    const std::size_t classes = job.classes, plane = std::size_t(job.height) * job.width;
    const std::size_t samples = job.batch * classes * plane;
    const std::size_t pixels = std::size_t(job.batch) * job.target_height * job.target_width;
    Buffer logits, gradient, target, weights, pixel_loss;
    if (!logits.open(logits_object, PyBUF_SIMPLE, samples, sizeof(float)) ||
        !gradient.open(gradient_object, PyBUF_WRITABLE, samples, sizeof(float)) ||
        !target.open(target_object, PyBUF_SIMPLE, pixels, sizeof(std::int32_t)) ||
        !weights.open(weights_object, PyBUF_SIMPLE, classes, sizeof(float)) ||
        !pixel_loss.open(loss_object, PyBUF_WRITABLE, pixels, sizeof(float)))
        return nullptr;
    job.logits = logits.as<const float>();
    job.gradient = gradient.as<float>();
    job.target = target.as<const std::int32_t>();
    job.class_weights = weights.as<const float>();
    job.pixel_loss = pixel_loss.as<float>();
    job.image_stride = static_cast<std::ptrdiff_t>(classes * plane);
    job.class_stride = channels_last ? 1 : static_cast<std::ptrdiff_t>(plane);
    job.row_stride = std::ptrdiff_t(job.width) * (channels_last ? job.classes : 1);
    job.column_stride = channels_last ? job.classes : 1;
    topseg::CrossEntropySum result;
    const bool fine = run_unlocked(
        [&] { result = topseg::upsampled_cross_entropy(job, threads, path_of(path)); });
    if (!fine) return nullptr;
    return Py_BuildValue("(ddO)", result.sum, result.count, result.valid ? Py_True : Py_False);
}

#ifndef TOPSEG_NO_NETWORK
// ---- The network. A model lives in a capsule; it is freed with the last reference to it.

constexpr char capsule_name[] = "topseg.Model";

// Runs without the interpreter's lock; false if it threw, with a Python error set.
template <class Work>
bool run_model(const Work& work) {
    std::string problem;
    bool exhausted = false;
    Py_BEGIN_ALLOW_THREADS try { work(); } catch (const std::bad_alloc&) {
        exhausted = true;
    } catch (const std::exception& error) {
        problem = error.what();
    }
    Py_END_ALLOW_THREADS if (exhausted) PyErr_NoMemory();
    if (!problem.empty()) PyErr_SetString(PyExc_ValueError, problem.c_str());
    return !exhausted && problem.empty();
}

void free_model(PyObject* capsule) {
    delete static_cast<topseg::Model*>(PyCapsule_GetPointer(capsule, capsule_name));
}

PyObject* model_paths(PyObject*, PyObject*) {
    PyObject* list = PyList_New(0);
    for (const topseg::CodePath& path : topseg::code_paths()) {
        if (!list || !path.supported()) continue;
        PyObject* name = PyUnicode_FromString(path.name);
        if (!name || PyList_Append(list, name)) Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

PyObject* open_model(PyObject*, PyObject* arguments) {
    const char *metadata, *where, *path;
    Py_ssize_t length;
    Py_buffer weights;
    if (!PyArg_ParseTuple(arguments, "s#y*ss", &metadata, &length, &weights, &where, &path))
        return nullptr;
    topseg::Model* model = nullptr;
    const bool fine = run_model([&] {
        topseg::ModelOptions options;
        options.code_path = path;
        model = new topseg::Model(
            topseg::read_metadata({metadata, std::size_t(length)}, "metadata.json"), weights.buf,
            std::size_t(weights.len), where, options);
    });
    PyBuffer_Release(&weights);
    return fine ? PyCapsule_New(model, capsule_name, free_model) : nullptr;
}

PyObject* model_logits(PyObject*, PyObject* arguments) {
    PyObject *capsule, *images_object, *logits_object, *laps_object;
    int batch, height, width, floats, threads;
    if (!PyArg_ParseTuple(arguments, "OO(iii)pOiO", &capsule, &images_object, &batch, &height,
                          &width, &floats, &logits_object, &threads, &laps_object))
        return nullptr;
    auto* model = static_cast<topseg::Model*>(PyCapsule_GetPointer(capsule, capsule_name));
    if (!model) return nullptr;
    if (batch < 1 || height < 1 || width < 1) {
        PyErr_SetString(PyExc_ValueError, "images: a side is below 1");
        return nullptr;
    }
    if (images_object == Py_None || logits_object == Py_None) {
        PyErr_SetString(PyExc_TypeError, "images and logits: expected buffers, got None");
        return nullptr;
    }
    const auto& metadata = model->metadata();
    const std::size_t pixels = std::size_t(batch) * std::size_t(height) * std::size_t(width);
    Buffer images, logits;
    if (!images.open(images_object, PyBUF_SIMPLE, pixels * std::size_t(metadata.channels),
                     floats ? sizeof(float) : 1) ||
        !logits.open(logits_object, PyBUF_WRITABLE, pixels / 64 * std::size_t(metadata.classes),
                     sizeof(float)))
        return nullptr;
    topseg::Laps laps;
    topseg::Laps* const wanted = laps_object == Py_None ? nullptr : &laps;
    const bool fine = run_model([&] {
        if (floats)
            model->logits(images.as<const float>(), batch, height, width, logits.as<float>(),
                          threads, wanted);
        else
            model->logits(images.as<const std::uint8_t>(), batch, height, width, logits.as<float>(),
                          threads, wanted);
    });
    if (!fine) return nullptr;
    for (const auto& [name, seconds] : laps.stages) {
        PyObject* lap = Py_BuildValue("(sd)", name.c_str(), seconds);
        const bool added = lap && !PyList_Append(laps_object, lap);
        Py_XDECREF(lap);
        if (!added) return nullptr;
    }
    Py_RETURN_NONE;
}
#endif

PyMethodDef methods[] = {
    {"paths", paths, METH_NOARGS, "Code paths of this processor, the fastest first."},
    {"resize_image", resize_image, METH_VARARGS,
     "resize_image(image uint8, (H, W, C), out uint8 to write, (h, w))"},
    {"upsample_argmax", upsample_argmax, METH_VARARGS,
     "upsample_argmax(logits, (B, K, h, w), mask, (H, W), probability or None, threads, path)"},
    {"cross_entropy", cross_entropy, METH_VARARGS,
     "cross_entropy(logits, gradient or None, (B, K, h, w), channels_last, target int32, (H, W), "
     "ignore_index, class_weights or None, label_smoothing, pixel_loss or None, threads, path)\n"
     "-> (sum, count, whether all targets are classes or ignored)"},
#ifndef TOPSEG_NO_NETWORK
    {"model_paths", model_paths, METH_NOARGS,
     "Code paths of the network on this processor, the fastest first."},
    {"open_model", open_model, METH_VARARGS,
     "open_model(text of metadata.json, bytes of the weights, their name in errors, code path or "
     "'') -> model"},
    {"model_logits", model_logits, METH_VARARGS,
     "model_logits(model, images (B, H, W, C), (B, H, W), whether they are float32, logits (B, K, "
     "H/8, W/8) to write, threads, list for (stage, seconds) or None)"},
#endif
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT,
                      "topseg._native",
                      "The compiled network, tail and lean loss.",
                      0,
                      methods,
                      nullptr,
                      nullptr,
                      nullptr,
                      nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() { return PyModuleDef_Init(&module); }
