// The C interface (topseg.h) over the model and the tail.
#include "topseg.h"

#include <memory>
#include <new>
#include <string>
#include <thread>

#include "topseg/model.hpp"
#include "topseg/tail.hpp"

struct topseg_model {
    std::unique_ptr<topseg::Model> network;
    int threads;
};

namespace {

#ifdef __cpp_exceptions
thread_local std::string last_problem;

topseg_status failed(topseg_status status, const char* text) noexcept {
    try {
        last_problem = text;
    } catch (...) {  // not even the text fits
    }
    return status;
}

// Runs some work; whatever it throws becomes a status and a text.
template <class Work>
topseg_status guarded(const Work& work) noexcept {
    try {
        work();
        return TOPSEG_OK;
    } catch (const topseg::BundleError& error) {
        return failed(TOPSEG_BAD_BUNDLE, error.what());
    } catch (const topseg::Error& error) {
        return failed(TOPSEG_INVALID_ARGUMENT, error.what());
    } catch (const std::invalid_argument& error) {
        return failed(TOPSEG_INVALID_ARGUMENT, error.what());
    } catch (const std::bad_alloc&) {
        return failed(TOPSEG_OUT_OF_MEMORY, "not enough memory");
    } catch (const std::exception& error) {
        return failed(TOPSEG_INTERNAL, error.what());
    } catch (...) {
        return failed(TOPSEG_INTERNAL, "an unknown exception");
    }
}

const char* problem() { return last_problem.c_str(); }
#else
// Without exceptions an error stops the program: in WebAssembly that is a trap, which the caller
// catches, and then finds the text.
template <class Work>
topseg_status guarded(const Work& work) {
    topseg::last_error().clear();
    work();
    return TOPSEG_OK;
}

const char* problem() { return topseg::last_error().c_str(); }
#endif

void check(bool condition, const char* problem) {
    if (!condition) topseg::raise(problem);
}

std::string text_of(const char* words) { return words ? words : ""; }

topseg::ModelOptions options_of(const topseg_options* options) {
    topseg::ModelOptions found;
    if (!options) return found;
    found.code_path = text_of(options->code_path);
    found.check_hashes = options->check_hashes != 0;
    return found;
}

int threads_of(const topseg_options* options) {
    if (options && options->threads > 0) return options->threads;
#ifdef TOPSEG_THREADS
    return int(std::max(1u, std::thread::hardware_concurrency()));
#else
    return 1;
#endif
}

const topseg::Metadata& metadata_of(const topseg_model* model) {
    check(model, "model: a null pointer");
    return model->network->metadata();
}

void check_image(const topseg_image* image) {
    check(image && image->pixels, "image: a null pointer");
    check(image->height > 0 && image->width > 0, "image: a side is below 1");
    check(std::int64_t(image->height) * image->width <= (std::int64_t(1) << 30),
          "image: more than 2^30 pixels");
}

std::ptrdiff_t row_bytes(const topseg_image& image, int channels) {
    const std::ptrdiff_t least = std::ptrdiff_t(image.width) * channels;
    check(image.row_bytes == 0 || image.row_bytes >= least,
          "image: row_bytes is less than width * channels");
    return image.row_bytes ? image.row_bytes : least;
}

void prepare(const topseg_model* model, const topseg_image& image, topseg::Size size,
             std::uint8_t* input) {
    const int channels = metadata_of(model).channels;
    topseg::resize_image(image.pixels, {image.height, image.width}, row_bytes(image, channels),
                         channels, size, input);
}

template <class Index>
void finish(const topseg_model* model, const topseg::Logits& logits, int height, int width,
            Index* mask, float* probability) {
    check(sizeof(Index) == 2 || metadata_of(model).classes <= 255,
          "mask: above 255 classes take the functions for 16 bits");
    topseg::upsample_argmax(logits, height, width, mask, probability, model->threads,
                            topseg::fastest_path());
}

// From an image to its mask: resize, network, tail.
template <class Index>
topseg_status make_mask(const topseg_model* model, const topseg_image* image, Index* mask,
                        float* probability) {
    return guarded([&] {
        const topseg::Metadata& metadata = metadata_of(model);
        check_image(image);
        check(mask, "mask: a null pointer");
        const topseg::Size size =
            topseg::network_size(metadata.resize, {image->height, image->width});
        topseg::Model::check_size(1, size.height, size.width);
        std::vector<std::uint8_t> input(std::size_t(size.height) * std::size_t(size.width) *
                                        std::size_t(metadata.channels));
        prepare(model, *image, size, input.data());
        const int height = size.height / topseg::Model::stride;
        const int width = size.width / topseg::Model::stride;
        std::vector<float> logits(std::size_t(metadata.classes) * std::size_t(height) *
                                  std::size_t(width));
        model->network->logits(input.data(), 1, size.height, size.width, logits.data(),
                               model->threads);
        finish(model, {logits.data(), 1, metadata.classes, height, width}, image->height,
               image->width, mask, probability);
    });
}

template <class Index>
topseg_status count_shares(const topseg_model* model, const Index* mask, int height, int width,
                           double* shares) {
    return guarded([&] {
        const auto classes = std::size_t(metadata_of(model).classes);
        check(mask && shares, "mask or shares: a null pointer");
        check(height > 0 && width > 0, "mask: a side is below 1");
        const std::size_t pixels = std::size_t(height) * std::size_t(width);
        std::vector<std::uint64_t> counts(std::size_t(1) << 8 * sizeof(Index));
        for (std::size_t i = 0; i < pixels; ++i) ++counts[mask[i]];
        for (std::size_t k = 0; k < classes; ++k)
            shares[k] = k < counts.size() ? double(counts[k]) / double(pixels) : 0;
    });
}

}  // namespace

const char* topseg_error(void) { return problem(); }

const char* topseg_version(void) {
#define TOPSEG_WORD(x) #x
#define TOPSEG_WORDS(x) TOPSEG_WORD(x)
    return TOPSEG_WORDS(TOPSEG_VERSION_MAJOR) "." TOPSEG_WORDS(
        TOPSEG_VERSION_MINOR) "." TOPSEG_WORDS(TOPSEG_VERSION_PATCH);
}

#ifndef __wasm__  // where there are no folders
topseg_status topseg_open(const char* folder, const topseg_options* options, topseg_model** model) {
    return guarded([&] {
        check(folder && model, "folder or model: a null pointer");
        auto network = topseg::Model::open(folder, options_of(options));
        *model = new topseg_model{std::move(network), threads_of(options)};
    });
}
#endif

topseg_status topseg_open_memory(const void* metadata, size_t metadata_bytes, const void* weights,
                                 size_t weights_bytes, const topseg_options* options,
                                 topseg_model** model) {
    return guarded([&] {
        check(metadata && weights && model, "metadata, weights or model: a null pointer");
        const std::string_view text(static_cast<const char*>(metadata), metadata_bytes);
        auto network = std::make_unique<topseg::Model>(topseg::read_metadata(text, "metadata.json"),
                                                       weights, weights_bytes,
                                                       "weights.safetensors", options_of(options));
        *model = new topseg_model{std::move(network), threads_of(options)};
    });
}

void topseg_close(topseg_model* model) { delete model; }

topseg_status topseg_describe(const topseg_model* model, topseg_info* info) {
    return guarded([&] {
        const topseg::Metadata& metadata = metadata_of(model);
        check(info, "info: a null pointer");
        *info = {metadata.classes,
                 metadata.channels,
                 topseg::Model::stride,
                 topseg::Model::multiple,
                 metadata.classes <= 255 ? 255 : 65535,
                 metadata.architecture.c_str(),
                 metadata.notice.empty() ? nullptr : metadata.notice.c_str()};
    });
}

topseg_status topseg_class(const topseg_model* model, int index, const char** name,
                           uint8_t rgb[3]) {
    return guarded([&] {
        const topseg::Metadata& metadata = metadata_of(model);
        check(index >= 0 && index < metadata.classes, "index: no such class");
        if (name) *name = metadata.names[std::size_t(index)].c_str();
        if (rgb) std::copy_n(metadata.palette[std::size_t(index)].begin(), 3, rgb);
    });
}

topseg_status topseg_network_size(const topseg_model* model, int height, int width,
                                  int* network_height, int* network_width) {
    return guarded([&] {
        const topseg::Metadata& metadata = metadata_of(model);
        check(height > 0 && width > 0, "image: a side is below 1");
        check(network_height && network_width, "network size: a null pointer");
        const topseg::Size size = topseg::network_size(metadata.resize, {height, width});
        *network_height = size.height;
        *network_width = size.width;
    });
}

topseg_status topseg_logits(const topseg_model* model, const uint8_t* images, int batch, int height,
                            int width, float* logits) {
    return guarded([&] {
        metadata_of(model);
        check(images && logits, "images or logits: a null pointer");
        model->network->logits(images, batch, height, width, logits, model->threads);
    });
}

topseg_status topseg_prepare(const topseg_model* model, const topseg_image* image, uint8_t* input) {
    return guarded([&] {
        const topseg::Metadata& metadata = metadata_of(model);
        check_image(image);
        check(input, "input: a null pointer");
        prepare(model, *image, topseg::network_size(metadata.resize, {image->height, image->width}),
                input);
    });
}

topseg_status topseg_finish(const topseg_model* model, const float* logits, int logits_height,
                            int logits_width, int height, int width, uint8_t* mask8,
                            uint16_t* mask16, float* probability) {
    return guarded([&] {
        const topseg::Metadata& metadata = metadata_of(model);
        check(logits && (mask8 != nullptr) != (mask16 != nullptr),
              "logits and one of mask8 and mask16: a null pointer");
        const topseg::Logits source{logits, 1, metadata.classes, logits_height, logits_width};
        if (mask8)
            finish(model, source, height, width, mask8, probability);
        else
            finish(model, source, height, width, mask16, probability);
    });
}

topseg_status topseg_mask8(const topseg_model* model, const topseg_image* image, uint8_t* mask) {
    return make_mask(model, image, mask, nullptr);
}

topseg_status topseg_mask16(const topseg_model* model, const topseg_image* image, uint16_t* mask) {
    return make_mask(model, image, mask, nullptr);
}

topseg_status topseg_mask8_probability(const topseg_model* model, const topseg_image* image,
                                       uint8_t* mask, float* probability) {
    return make_mask(model, image, mask, probability);
}

topseg_status topseg_shares8(const topseg_model* model, const uint8_t* mask, int height, int width,
                             double* shares) {
    return count_shares(model, mask, height, width, shares);
}

topseg_status topseg_shares16(const topseg_model* model, const uint16_t* mask, int height,
                              int width, double* shares) {
    return count_shares(model, mask, height, width, shares);
}
