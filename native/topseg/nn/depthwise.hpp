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
        constexpr int block = 8;
        const float* at[size];
        for (int i = 0; i < size; ++i) at[i] = rows[i];
        int x = 0;
        const auto forward = [&](int count) {
            for (int i = 0; i < size; ++i) at[i] += std::ptrdiff_t(count) * step * channels;
            x += count;
        };
        while (x + block <= pixels) {
            run_block<size, step, block, activation>(at, out + std::ptrdiff_t(x) * channels);
            forward(block);
        }
        while (x + 2 <= pixels) {
            run_block<size, step, 2, activation>(at, out + std::ptrdiff_t(x) * channels);
            forward(2);
        }
        while (x < pixels) {
            run_block<size, step, 1, activation>(at, out + std::ptrdiff_t(x) * channels);
            forward(1);
        }
    }

    // `count` outputs of a row, one vector of channels after the other. Every input is loaded once
    // and added to all the outputs that see it.
    template <int size, int step, int count, Activation activation>
    __attribute__((noinline)) void run_block(const float* const* rows, float* out) const {
        for (int c = 0; c < channels; c += lanes) {
            Vector sum[count];
            const Vector start = load(bias_.data() + c);
#pragma GCC unroll 16
            for (int i = 0; i < count; ++i) sum[i] = start;
#pragma GCC unroll 5
            for (int ky = 0; ky < size; ++ky) {
                const float* in = rows[ky] + c;
                Vector w[size];
#pragma GCC unroll 5
                for (int kx = 0; kx < size; ++kx)
                    w[kx] = load(weights_.data() + (ky * size + kx) * channels + c);
#pragma GCC unroll 32
                for (int i = 0; i < (count - 1) * step + size; ++i) {
                    const Vector x = load(in + std::ptrdiff_t(i) * channels);
#pragma GCC unroll 5
                    for (int kx = 0; kx < size; ++kx)
                        if (i >= kx && (i - kx) % step == 0 && (i - kx) / step < count)
                            sum[(i - kx) / step] = fma(x, w[kx], sum[(i - kx) / step]);
                }
            }
#pragma GCC unroll 16
            for (int i = 0; i < count; ++i)
                store(out + std::ptrdiff_t(i) * channels + c, activate<activation>(sum[i]));
        }
    }

    Floats weights_, bias_;
};

}  // namespace TOPSEG_PATH
}  // namespace topseg
