// Between grids: pooling of maps to tokens by both rules, and bilinear interpolation back.
#pragma once

#include <algorithm>
#include <vector>

#include "topseg/nn/memory.hpp"
#include "topseg/nn/vector.hpp"

namespace topseg {
namespace TOPSEG_PATH {

// The cells [begin, end) of an axis that one token averages.
struct Window {
    int begin, end;
};

// Adaptive (official code): as many windows as cover the axis, evenly placed. Fixed (PaddleSeg):
// whole windows alone, so that a strip of an odd multiple of 32 is left out.
inline std::vector<Window> pool_windows(int length, int cells, bool fixed) {
    const int count = fixed ? std::max(length / cells, 1) : (length + cells - 1) / cells;
    std::vector<Window> windows;
    for (int i = 0; i < count; ++i) {
        if (fixed)
            windows.push_back({i * cells, std::min((i + 1) * cells, length)});
        else
            windows.push_back({i * length / count, ((i + 1) * length + count - 1) / count});
    }
    return windows;
}

// Averages one row of windows of a map into tokens, `step` floats apart.
inline void pool_row(const Map& map, Window rows, const std::vector<Window>& columns, float* tokens,
                     std::ptrdiff_t step) {
    for (const Window& window : columns) {
        const int cells = (rows.end - rows.begin) * (window.end - window.begin);
        const Vector share = splat(1.f / float(cells));
        for (int c = 0; c < map.channels; c += lanes) {
            Vector sum{};
            for (int y = rows.begin; y < rows.end; ++y)
                for (int x = window.begin; x < window.end; ++x) sum += load(map.at(y, x) + c);
            store(tokens + c, sum * share);
        }
        tokens += step;
    }
}

// Where the cells of an axis lie among the samples of a coarser one (align_corners=False).
struct Axis {
    std::vector<int> low, high;
    std::vector<float> weight;

    Axis() = default;
    Axis(int samples, int cells) {
        const float scale = float(samples) / float(cells);
        for (int i = 0; i < cells; ++i) {
            const float source = std::max(0.f, scale * (float(i) + 0.5f) - 0.5f);
            const int below = std::min(int(source), samples - 1);
            low.push_back(below);
            high.push_back(std::min(below + 1, samples - 1));
            weight.push_back(source - float(below));
        }
    }
};

TOPSEG_KERNEL Vector between(Vector low, Vector high, Vector weight) {
    return fma(high - low, weight, low);
}

// A row between two rows.
inline void blend_rows(const float* low, const float* high, float weight, float* out,
                       std::ptrdiff_t count) {
    for (std::ptrdiff_t i = 0; i < count; i += lanes)
        store(out + i, between(load(low + i), load(high + i), splat(weight)));
}

}  // namespace TOPSEG_PATH
}  // namespace topseg
