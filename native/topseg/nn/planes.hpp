// Pointwise convolution from pixels (P, C) into planes (N, P): the pixels are turned, so that they
// fill the vectors and no output channel is padded.
#pragma once

#include <algorithm>

#include "topseg/nn/pointwise.hpp"

namespace topseg {
namespace TOPSEG_PATH {

class ToPlanes {
public:
    ToPlanes() = default;

    // `in` places the inputs; each row of weights ends with the bias, for an input of one.
    ToPlanes(const Conv& conv, const Layout& in)
        : inputs_(in.size),
          outputs_(conv.outputs),
          weights_(std::size_t(conv.outputs) * std::size_t(in.size + 1)) {
        const float* weight = conv.weight.data();
        float* row = weights_.data();
        for (const float bias : conv.bias) {
            for (const int from : in.place) row[from] = *weight++;
            row[inputs_] = bias;
            row += inputs_ + 1;
        }
    }

    // Floats of memory that run() needs: some turned pixels, and as many outputs.
    std::size_t memory() const { return std::size_t((inputs_ + 1 + outputs_) * width); }

    //   source: (pixels, C); pixels: a multiple of 4
    //   out: N planes, `plane` floats apart
    void run(int pixels, const float* source, float* out, std::ptrdiff_t plane,
             float* memory) const {
        float* const turned = memory;  // (C + 1, width), the last row of ones
        float* const rest = memory + (inputs_ + 1) * width;
        std::fill_n(turned + inputs_ * width, width, 1.f);
        for (int first = 0, count; first < pixels; first += count) {
            const int whole = (pixels - first) / lanes;
            const int vectors = whole == max_vectors + 1 ? 2 : std::clamp(whole, 1, max_vectors);
            count = std::min(vectors * lanes, pixels - first);
            transpose(source + std::ptrdiff_t(first) * inputs_, inputs_, count, inputs_, turned,
                      width);
            const auto write = [&](float* to, std::ptrdiff_t step) {
                product<Activation::none, 1>({{weights_.data()},
                                              inputs_ + 1,
                                              inputs_ + 1,
                                              turned,
                                              width,
                                              nullptr,
                                              to,
                                              step,
                                              nullptr,
                                              0},
                                             vectors, outputs_);
            };
            if (whole > 0) {
                write(out + first, plane);
                continue;
            }
            write(rest, width);
            for (int n = 0; n < outputs_; ++n)
                std::copy_n(rest + n * width, count, out + n * plane + first);
        }
    }

private:
    static constexpr int width = max_vectors * lanes;

    int inputs_ = 0, outputs_ = 0;
    Floats weights_;  // (N, C + 1)
};

}  // namespace TOPSEG_PATH
}  // namespace topseg
