// Depthwise convolution of rows: each channel with its own 3x3 or 5x5 filter, at stride 1 or 2,
// with bias and activation in the same pass.
#pragma once

#include "topseg/nn/memory.hpp"
#include "topseg/nn/vector.hpp"
#include "topseg/weights.hpp"

namespace topseg {
namespace TOPSEG_PATH {

class Depthwise {
public:
    int kernel = 3, stride = 1, channels = 0;  // channels: padded

    Depthwise() = default;
    Depthwise(const Conv& conv, int stride)
        : kernel(conv.kernel), stride(stride), channels(padded(conv.outputs)) {
        const int taps = kernel * kernel;
        weights_ = Floats(std::size_t(taps * channels));
        bias_ = Floats(std::size_t(channels));
        for (int c = 0; c < conv.outputs; ++c) {
            bias_[std::size_t(c)] = conv.bias[std::size_t(c)];
            for (int tap = 0; tap < taps; ++tap)
                weights_[std::size_t(tap * channels + c)] =
                    conv.weight[std::size_t(c * taps + tap)];
        }
    }

    // One row of outputs: rows[i] points at the first pixel that the first output sees in row i.
    //   rows: `kernel` rows of (..., channels);  out: (pixels, channels)
    template <Activation activation>
    void run(const float* const* rows, float* out, int pixels) const {
        if (kernel == 3 && stride == 1) run_row<3, 1, activation>(rows, out, pixels);
        if (kernel == 3 && stride == 2) run_row<3, 2, activation>(rows, out, pixels);
        if (kernel == 5 && stride == 1) run_row<5, 1, activation>(rows, out, pixels);
        if (kernel == 5 && stride == 2) run_row<5, 2, activation>(rows, out, pixels);
    }

private:
    template <int size, int step, Activation activation>
    void run_row(const float* const* rows, float* out, int pixels) const {
        const float* at[size];
        for (int i = 0; i < size; ++i) at[i] = rows[i];
        run_blocks<size, step, 8, activation>(at, out, pixels / 8);
        run_blocks<size, step, 2, activation>(at, out, pixels % 8 / 2);
        run_blocks<size, step, 1, activation>(at, out, pixels % 2);
    }

    // Blocks of `count` outputs of a row, one vector of channels after the other. Every input is
    // loaded once and added to all the outputs that see it. Moves what it is given to the end.
    template <int size, int step, int count, Activation activation>
    __attribute__((noinline)) void run_blocks(const float** rows, float*& out, int blocks) const {
        const std::ptrdiff_t channels =
            this->channels;  // of this function alone: no store changes it
        const float *const weights = weights_.data(), *const bias = bias_.data();
        float* to = out;
        for (; blocks > 0; --blocks, to += count * channels) {
            for (std::ptrdiff_t c = 0; c < channels; c += lanes) {
                Vector sum[count];
                const Vector start = load(bias + c);
#pragma GCC unroll 16
                for (int i = 0; i < count; ++i) sum[i] = start;
#pragma GCC unroll 5
                for (int ky = 0; ky < size; ++ky) {
                    const float* in = rows[ky] + c;
                    Vector w[size];
#pragma GCC unroll 5
                    for (int kx = 0; kx < size; ++kx)
                        w[kx] = load(weights + (ky * size + kx) * channels + c);
#pragma GCC unroll 32
                    for (int i = 0; i < (count - 1) * step + size; ++i) {
                        const Vector x = pinned(load(in + std::ptrdiff_t(i) * channels));
#pragma GCC unroll 5
                        for (int kx = 0; kx < size; ++kx)
                            if (i >= kx && (i - kx) % step == 0 && (i - kx) / step < count)
                                sum[(i - kx) / step] = fma(x, w[kx], sum[(i - kx) / step]);
                    }
                }
#pragma GCC unroll 16
                for (int i = 0; i < count; ++i)
                    store(to + std::ptrdiff_t(i) * channels + c, activate<activation>(sum[i]));
            }
            for (int i = 0; i < size; ++i) rows[i] += count * step * channels;
        }
        out = to;
    }

    Floats weights_, bias_;
};

}  // namespace TOPSEG_PATH
}  // namespace topseg
