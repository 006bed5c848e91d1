// topseg._native: the tail for Python, on any object with a contiguous buffer (no NumPy headers, no
// torch). Written against the limited API, so one binary serves all Pythons from 3.11.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <new>

#include "topseg/tail.hpp"

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

// Releases the buffer at the end of the scope.
struct Buffer {
    Py_buffer view{};
    ~Buffer() {
        if (view.obj) PyBuffer_Release(&view);
    }
    template <class T>
    T* as() const {
        return static_cast<T*>(view.buf);
    }
    bool holds(std::size_t items, std::size_t itemsize) const {
        return static_cast<std::size_t>(view.len) == items * itemsize;
    }
};

PyObject* paths(PyObject*, PyObject*) {
    const Path fastest = topseg::fastest_path();
    if (fastest == Path::portable) return Py_BuildValue("(s)", name_of(Path::portable));
    return Py_BuildValue("(ss)", name_of(fastest), name_of(Path::portable));
}

PyObject* upsample_argmax(PyObject*, PyObject* arguments) {
    Buffer logits, mask, probability;
    PyObject* wanted_probability;
    int batch, classes, height, width, rows, columns, threads;
    const char* path_name;
    if (!PyArg_ParseTuple(arguments, "y*(iiii)w*(ii)Ois", &logits.view, &batch, &classes, &height,
                          &width, &mask.view, &rows, &columns, &wanted_probability, &threads,
                          &path_name))
        return nullptr;
    if (wanted_probability != Py_None &&
        PyObject_GetBuffer(wanted_probability, &probability.view, PyBUF_WRITABLE))
        return nullptr;
    const Path path =
        std::strcmp(path_name, name_of(Path::avx2)) ? Path::portable : Path::avx2;
    const std::size_t pixels = std::size_t(batch) * rows * columns;
    const bool wide = classes > 255;
    if (!logits.holds(std::size_t(batch) * classes * height * width, sizeof(float)) ||
        !mask.holds(pixels, wide ? 2 : 1) ||
        (probability.view.obj && !probability.holds(pixels, sizeof(float)))) {
        PyErr_SetString(PyExc_ValueError, "a buffer's size does not match the shapes");
        return nullptr;
    }
    const topseg::Logits source{logits.as<const float>(), batch, classes, height, width};
    const char* failure = nullptr;
    bool exhausted = false;
    Py_BEGIN_ALLOW_THREADS
    try {
        if (wide)
            topseg::upsample_argmax(source, rows, columns, mask.as<std::uint16_t>(),
                                    probability.as<float>(), threads, path);
        else
            topseg::upsample_argmax(source, rows, columns, mask.as<std::uint8_t>(),
                                    probability.as<float>(), threads, path);
    } catch (const std::invalid_argument&) {
        failure = "sizes must be at least 1 and the code path supported";
    } catch (const std::bad_alloc&) {
        exhausted = true;
    }
    Py_END_ALLOW_THREADS
    if (exhausted) return PyErr_NoMemory();
    if (failure) {
        PyErr_SetString(PyExc_ValueError, failure);
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"paths", paths, METH_NOARGS, "Code paths of this processor, the fastest first."},
    {"upsample_argmax", upsample_argmax, METH_VARARGS,
     "upsample_argmax(logits, (B, K, h, w), mask, (H, W), probability or None, threads, path)"},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "topseg._native", "Compiled tail.", 0,
                      methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() { return PyModuleDef_Init(&module); }
