// Pointwise convolution: a product of pixels (P, K) and weights (K, N), with bias, residual and
// activation in the same pass.
//
// Weights lie in panels of one to three vectors of outputs, so that a tile of pixels x outputs
// stays in registers for all of K. Tile shapes come from the number of registers.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "topseg/nn/memory.hpp"
#include "topseg/nn/vector.hpp"
#include "topseg/weights.hpp"

namespace topseg {
namespace TOPSEG_PATH {

// Vectors of a panel, and pixels of a tile for a panel of 1, 2 and 3 vectors.
constexpr int max_vectors = 3;
#if defined(__aarch64__)  // 32 registers, up to four products at once
constexpr int tile_pixels(int vectors) { return vectors == 1 ? 16 : vectors == 2 ? 12 : 8; }
#elif TOPSEG_LANES == 16  // 32 registers; smaller tiles let the next one begin early
constexpr int tile_pixels(int vectors) { return vectors == 1 ? 12 : vectors == 2 ? 8 : 6; }
#else                     // 16 registers
constexpr int tile_pixels(int vectors) { return vectors == 1 ? 8 : vectors == 2 ? 6 : 4; }
#endif

// Pixels and where their products go. Pixel p's inputs are `runs` runs of `length` floats, the
// first of each at source[run] + p * source_step: one run for a pointwise convolution, three for
// the stem, whose 3x3 window has one run in each row.
template <int runs>
struct Product {
    const float* source[runs];
    std::ptrdiff_t source_step;
    int length;
    const float* weights;  // (runs * length, ...) from one row to the next:
    std::ptrdiff_t weights_step;
    const float* bias;  // or null
    float* out;
    std::ptrdiff_t out_step;
    const float* residual;  // or null
    std::ptrdiff_t residual_step;

    TOPSEG_KERNEL Product from_pixel(std::ptrdiff_t pixel) const {
        Product moved = *this;
        for (const float*& run : moved.source) run += pixel * source_step;
        moved.out += pixel * out_step;
        if (residual) moved.residual += pixel * residual_step;
        return moved;
    }

    TOPSEG_KERNEL void next_panel(int outputs) {
        weights += std::ptrdiff_t(outputs) * runs * length;
        if (bias) bias += outputs;
        out += outputs;
        if (residual) residual += outputs;
    }
};

// One tile: `pixels` pixels times `vectors` vectors of outputs.
template <int pixels, int vectors, Activation activation, int runs>
TOPSEG_KERNEL void product_tile(const Product<runs>& job) {
    Vector sum[pixels][vectors];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) {
        const Vector start = job.bias ? load(job.bias + j * lanes) : Vector{};
#pragma GCC unroll 16
        for (int p = 0; p < pixels; ++p) sum[p][j] = start;
    }
    // Where the results go is fetched while they are made: in planes, each is on a page of its own.
#pragma GCC unroll 16
    for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 4
        for (int j = 0; j < vectors * lanes; j += 16)
            __builtin_prefetch(job.out + p * job.out_step + j, 1);
    const float* weights = job.weights;
#pragma GCC unroll 3
    for (int run = 0; run < runs; ++run) {
        const float* source = job.source[run];
#pragma GCC unroll 4
        for (int k = 0; k < job.length; ++k) {
            Vector w[vectors];
#pragma GCC unroll 4
            for (int j = 0; j < vectors; ++j) w[j] = load(weights + j * lanes);
            weights += job.weights_step;
#pragma GCC unroll 16
            for (int p = 0; p < pixels; ++p) {
                const Vector x = splat(source[p * job.source_step + k]);
#pragma GCC unroll 4
                for (int j = 0; j < vectors; ++j) sum[p][j] = fma(x, w[j], sum[p][j]);
            }
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; ++j) {
            Vector v = sum[p][j];
            if (job.residual) v += load(job.residual + p * job.residual_step + j * lanes);
            store(job.out + p * job.out_step + j * lanes, activate<activation>(v));
        }
}

// A panel of outputs for any number of pixels: large tiles, then tiles of four, two and one.
template <int vectors, Activation activation, int runs>
__attribute__((noinline)) void product_panel(const Product<runs>& given, int pixels) {
    const Product<runs> job = given;  // of this function alone: no store can change it
    constexpr int large = tile_pixels(vectors);
    int p = 0;
    // Eight pixels are two tiles of four: one of two would wait for its few sums.
    for (; p + large <= pixels && (large != 6 || pixels - p != 8); p += large)
        product_tile<large, vectors, activation>(job.from_pixel(p));
    if constexpr (large > 4)
        for (; p + 4 <= pixels; p += 4) product_tile<4, vectors, activation>(job.from_pixel(p));
    for (; p + 2 <= pixels; p += 2) product_tile<2, vectors, activation>(job.from_pixel(p));
    for (; p < pixels; ++p) product_tile<1, vectors, activation>(job.from_pixel(p));
}

template <Activation activation, int runs>
TOPSEG_KERNEL void product(const Product<runs>& job, int vectors, int pixels) {
    if (vectors == 1) product_panel<1, activation>(job, pixels);
    if (vectors == 2) product_panel<2, activation>(job, pixels);
    if (vectors == 3) product_panel<3, activation>(job, pixels);
}

// Pixels of so many floats that are done at once, to stay in the first cache: 16 KiB, and of wide
// pixels a few more; whole tiles of every size.
constexpr int pixels_at_once(int floats) { return std::max(48, 4096 / floats / 48 * 48); }

// Where the channels of a map lie: several groups side by side, each padded to whole vectors.
struct Layout {
    std::vector<int> place;  // of each channel
    int size = 0;            // floats of a pixel

    Layout() = default;
    explicit Layout(std::initializer_list<int> groups) : Layout(std::vector<int>(groups)) {}
    explicit Layout(const std::vector<int>& groups) {
        for (const int channels : groups) {
            for (int c = 0; c < channels; ++c) place.push_back(size + c);
            size += padded(channels);
        }
    }
};

class Pointwise {
public:
    int inputs = 0;   // floats that are read of a pixel, up to its last channel
    int outputs = 0;  // floats that are written, whole vectors

    Pointwise() = default;

    // Packs (N, runs, length) weights; `in` places the inputs of one run, `out` the outputs.
    Pointwise(const Conv& conv, const Layout& in, const Layout& out, int runs = 1)
        : inputs(in.place.back() + 1), outputs(out.size) {
        const std::size_t depth = std::size_t(runs) * std::size_t(inputs);
        std::vector<float> full(depth * std::size_t(outputs));  // (runs * length, outputs)
        bias_ = Floats(std::size_t(outputs));
        const float* weight = conv.weight.data();
        for (std::size_t o = 0; o < out.place.size(); ++o) {
            const auto to = std::size_t(out.place[o]);
            bias_[to] = conv.bias[o];
            for (int run = 0; run < runs; ++run)
                for (const int from : in.place)
                    full[std::size_t(run * inputs + from) * std::size_t(outputs) + to] = *weight++;
        }
        // The channels in panels; a rest of one vector is shared with the panel before it.
        for (int left = outputs / lanes; left > 0; left -= panels_.back())
            panels_.push_back(left == max_vectors + 1 ? 2 : std::min(left, max_vectors));
        weights_ = Floats(full.size());
        float* target = weights_.data();
        std::size_t first = 0;
        for (const int vectors : panels_) {
            const auto width = std::size_t(vectors * lanes);
            for (std::size_t k = 0; k < depth; ++k, target += width)
                std::copy_n(&full[k * std::size_t(outputs) + first], width, target);
            first += width;
        }
    }

    bool empty() const { return panels_.empty(); }

    // (pixels, inputs) -> (pixels, outputs), and residual (pixels, outputs) where it is not null.
    template <Activation activation>
    void run(int pixels, const float* source, std::ptrdiff_t source_step, float* out,
             std::ptrdiff_t out_step, const float* residual = nullptr,
             std::ptrdiff_t residual_step = 0) const {
        run_rows<activation, 1>(pixels, {{source},
                                         source_step,
                                         inputs,
                                         weights_.data(),
                                         0,
                                         bias_.data(),
                                         out,
                                         out_step,
                                         residual,
                                         residual_step});
    }

    // The same with three runs of inputs a pixel.
    template <Activation activation>
    void run_three(int pixels, const float* const (&source)[3], std::ptrdiff_t source_step,
                   float* out, std::ptrdiff_t out_step) const {
        run_rows<activation, 3>(pixels, {{source[0], source[1], source[2]},
                                         source_step,
                                         inputs,
                                         weights_.data(),
                                         0,
                                         bias_.data(),
                                         out,
                                         out_step,
                                         nullptr,
                                         0});
    }

private:
    template <Activation activation, int runs>
    void run_rows(int pixels, Product<runs> job) const {
        // Some pixels at a time, so that they stay in the first cache for all panels; where the
        // weights alone would not stay there, each panel takes all pixels instead.
        const bool heavy = inputs * runs * outputs * 4 > 24 * 1024;
        const int chunk = heavy ? pixels : pixels_at_once(inputs);
        for (int first = 0; first < pixels; first += chunk) {
            Product<runs> part = job.from_pixel(first);
            for (const int vectors : panels_) {
                part.weights_step = vectors * lanes;
                product<activation>(part, vectors, std::min(chunk, pixels - first));
                part.next_panel(vectors * lanes);
            }
        }
    }

    std::vector<int> panels_;  // vectors of each
    Floats weights_, bias_;
};

}  // namespace TOPSEG_PATH
}  // namespace topseg
