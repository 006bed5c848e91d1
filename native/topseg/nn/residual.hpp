// Inverted residual in one pass: widen, filter each channel alone, narrow; the widened map, the
// largest of the block, is never a whole map. As many of its rows as the filter sees stay in a ring
// that fits the second-level cache.
#pragma once

#include <algorithm>

#include "topseg/nn/depthwise.hpp"
#include "topseg/nn/pointwise.hpp"

namespace topseg {
namespace TOPSEG_PATH {

// What a worker needs beside the maps; it grows to what the largest block asks for.
struct Scratch {
    Floats ring, filtered, zeros;

    static void grow(Floats& floats, std::size_t& have, std::size_t need) {
        if (need <= have) return;
        floats = Floats(need);
        have = need;
    }

    void reserve(std::size_t ring_size, std::size_t filtered_size, std::size_t zeros_size) {
        grow(ring, ring_size_, ring_size);
        grow(filtered, filtered_size_, filtered_size);
        grow(zeros, zeros_size_, zeros_size);
    }

private:
    std::size_t ring_size_ = 0, filtered_size_ = 0, zeros_size_ = 0;
};

class InvertedResidual {
public:
    Pointwise widen;  // empty: the hidden map is the input itself
    Depthwise filter;
    Pointwise narrow;
    bool residual = false;

    // Output columns that are done at once, so that the ring takes half of the cache.
    int tile_width(int width, std::size_t cache_bytes) const {
        const std::size_t column =
            std::size_t(filter.kernel) * std::size_t(filter.channels) * sizeof(float);
        const int columns = int(cache_bytes / 2 / column) - filter.kernel;
        return std::min(width, std::max(32, columns / filter.stride / 8 * 8));
    }

    void reserve(Scratch& scratch, int tile) const {
        const auto columns = std::size_t((tile - 1) * filter.stride + filter.kernel);
        const auto row = columns * std::size_t(filter.channels);
        scratch.reserve(row * std::size_t(filter.kernel),
                        std::size_t(tile) * std::size_t(filter.channels), row);
    }

    // Rows [first, last) of the output.
    //   height, width: of the hidden map
    //   hidden(y, from, to, row): writes its columns [from, to) of row y
    //   input: the residual; null: the hidden map itself
    template <class Hidden>
    void run(int first, int last, int height, int width, const Hidden& hidden, const Map* input,
             const Map& out, int tile, Scratch& scratch) const {
        const int kernel = filter.kernel, stride = filter.stride, pad = kernel / 2;
        const auto channels = std::ptrdiff_t(filter.channels);
        for (int left = 0; left < out.width; left += tile) {
            const int right = std::min(out.width, left + tile);
            // Hidden columns that the tile sees, and those of them that exist.
            const int from = left * stride - pad, to = (right - 1) * stride + pad + 1;
            const int begin = std::max(0, from), end = std::min(width, to);
            const std::ptrdiff_t slot = (to - from) * channels;
            float* const ring = scratch.ring.data();
            for (int i = 0; i < kernel; ++i) {
                std::fill_n(ring + i * slot, (begin - from) * channels, 0.f);
                std::fill_n(ring + i * slot + (end - from) * channels, (to - end) * channels, 0.f);
            }
            int next = std::max(0, first * stride - pad);  // hidden row to be made
            for (int y = first; y < last; ++y) {
                for (; next < std::min(height, y * stride + pad + 1); ++next)
                    hidden(next, begin, end,
                           ring + next % kernel * slot + (begin - from) * channels);
                const float* rows[5];
                for (int i = 0; i < kernel; ++i) {
                    const int row = y * stride - pad + i;
                    rows[i] = row < 0 || row >= height ? scratch.zeros.data()
                                                       : ring + row % kernel * slot;
                }
                const float* before = !residual ? nullptr
                                      : input   ? input->at(y, left)
                                                : rows[pad] + pad * channels;
                finish(rows, right - left, out.at(y, left), before, scratch.filtered.data());
            }
        }
    }

private:
    // Filter and narrow some pixels of a row, a few at a time, so that they stay in the first
    // cache.
    void finish(const float** rows, int pixels, float* out, const float* before,
                float* filtered) const {
        const auto channels = std::ptrdiff_t(filter.channels);
        const bool heavy = filter.channels * narrow.outputs * 4 > 24 * 1024;
        const bool wide = filter.channels * 48 * 4 > 32 * 1024;
        const int chunk = heavy ? pixels : wide ? 16 : pixels_at_once(filter.channels);
        for (int x = 0; x < pixels; x += chunk) {
            const int count = std::min(chunk, pixels - x);
            filter.run<Activation::relu>(rows, filtered, count);
            narrow.run<Activation::none>(
                count, filtered, channels, out + std::ptrdiff_t(x) * narrow.outputs, narrow.outputs,
                before ? before + std::ptrdiff_t(x) * narrow.outputs : before, narrow.outputs);
            for (int i = 0; i < filter.kernel; ++i)
                rows[i] += std::ptrdiff_t(count) * filter.stride * channels;
        }
    }
};

}  // namespace TOPSEG_PATH
}  // namespace topseg
