// topseg.h for C++17: a model that closes itself, errors as exceptions, images as small structs.
//
//     topseg::Model model("bundle");
//     topseg::Mask mask = model.mask({pixels, height, width});   // mask.at(y, x) is a class index
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "topseg.h"

namespace topseg {
// The library has classes of the same names inside; in a static build the linker would mix them up.
inline namespace api {

class Error : public std::runtime_error {
public:
    Error(topseg_status status, const std::string& text)
        : std::runtime_error(text), status(status) {}
    topseg_status status;
};

// (height, width) class indices.
struct Mask {
    int height = 0, width = 0;
    std::vector<std::uint16_t> classes;
    std::uint16_t at(int y, int x) const {
        return classes[std::size_t(y) * std::size_t(width) + std::size_t(x)];
    }
};

// (C, height, width) at the network's stride.
struct Logits {
    int height = 0, width = 0;
    std::vector<float> values;
};

class Model {
public:
    explicit Model(const std::string& folder, topseg_options options = {}) {
        topseg_model* model = nullptr;
        check(topseg_open(folder.c_str(), &options, &model));
        model_.reset(model);
        check(topseg_describe(model, &info_));
    }

    const topseg_info& info() const { return info_; }
    topseg_model* get() const { return model_.get(); }

    std::string class_name(int index) const {
        const char* name = nullptr;
        check(topseg_class(get(), index, &name, nullptr));
        return name;
    }

    // (height, width) of the network's input for an image of that size.
    std::pair<int, int> network_size(int height, int width) const {
        std::pair<int, int> size;
        check(topseg_network_size(get(), height, width, &size.first, &size.second));
        return size;
    }

    // The network's input: (height, width, C) bytes of network_size(image.height, image.width).
    std::vector<std::uint8_t> prepare(const topseg_image& image) const {
        const auto [height, width] = network_size(image.height, image.width);
        std::vector<std::uint8_t> input(std::size_t(height) * std::size_t(width) *
                                        std::size_t(info_.channels));
        check(topseg_prepare(get(), &image, input.data()));
        return input;
    }

    Logits logits(const std::uint8_t* input, int height, int width) const {
        Logits found{height / info_.stride, width / info_.stride, {}};
        found.values.resize(std::size_t(info_.num_classes) * std::size_t(found.height) *
                            std::size_t(found.width));
        check(topseg_logits(get(), input, 1, height, width, found.values.data()));
        return found;
    }

    // The mask at the image's own size.
    Mask mask(const topseg_image& image) const {
        Mask found{image.height, image.width, {}};
        found.classes.resize(std::size_t(image.height) * std::size_t(image.width));
        check(topseg_mask16(get(), &image, found.classes.data()));
        return found;
    }

private:
    static void check(topseg_status status) {
        if (status != TOPSEG_OK) throw Error(status, topseg_error());
    }

    struct Close {
        void operator()(topseg_model* model) const { topseg_close(model); }
    };
    std::unique_ptr<topseg_model, Close> model_;
    topseg_info info_{};
};

}  // namespace api
}  // namespace topseg
