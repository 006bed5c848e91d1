// Attention of one head over the tokens, for some queries at a time: memory grows with the number
// of tokens, not with its square.
#pragma once

#include <algorithm>

#include "topseg/nn/pointwise.hpp"

namespace topseg {
namespace TOPSEG_PATH {

constexpr int key_width = 16, value_width = 32;

// Floats of memory that attend() needs.
inline std::size_t attention_memory(int tokens) {
    constexpr std::size_t queries = 64;
    return (queries + std::size_t(key_width)) * std::size_t(padded(tokens));
}

// softmax(Q K^T) V, then ReLU6, for queries [first, last); scores are not scaled
// (models/topformer).
//   query, key, value: of token 0; the next token is `step` floats further
//   out: (tokens, ...) of token 0, `out_step` floats apart
inline void attend(const float* query, const float* key, const float* value, std::ptrdiff_t step,
                   int tokens, int first, int last, float* out, std::ptrdiff_t out_step,
                   float* memory) {
    constexpr int queries = 64;
    const int columns = padded(tokens);
    float* const scores = memory;                    // (queries, columns)
    float* const keys = memory + queries * columns;  // (key width, columns)
    for (int k = 0; k < key_width; ++k)
        for (int n = 0; n < columns; ++n)
            keys[k * columns + n] = n < tokens ? key[n * step + k] : 0.f;

    for (int start = first; start < last; start += queries) {
        const int count = std::min(queries, last - start);
        // Scores of these queries with all keys.
        for (int n = 0; n < columns;) {
            const int vectors = std::min(2, (columns - n) / lanes);
            product<Activation::none, 1>({{query + start * step},
                                          step,
                                          key_width,
                                          keys + n,
                                          columns,
                                          nullptr,
                                          scores + n,
                                          columns,
                                          nullptr,
                                          0},
                                         vectors, count);
            n += vectors * lanes;
        }
        // Softmax over the tokens; the columns beyond them count nothing.
        for (int q = 0; q < count; ++q) {
            float* row = scores + q * columns;
            std::fill(row + tokens, row + columns, -1e30f);
            Vector most = load(row);
            for (int n = lanes; n < columns; n += lanes) most = largest(most, load(row + n));
            const Vector top = splat(largest_of(most));
            Vector sum{};
            for (int n = 0; n < columns; n += lanes) {
                const Vector e = exp_negative(load(row + n) - top);
                sum += e;
                store(row + n, e);
            }
            const Vector share = splat(1.f / sum_of(sum));
            for (int n = 0; n < columns; n += lanes) store(row + n, load(row + n) * share);
        }
        // Mix the values.
        for (int v = 0; v < value_width;) {
            const int vectors = std::min(2, (value_width - v) / lanes);
            product<Activation::relu6, 1>({{scores},
                                           columns,
                                           tokens,
                                           value + v,
                                           step,
                                           nullptr,
                                           out + start * out_step + v,
                                           out_step,
                                           nullptr,
                                           0},
                                          vectors, count);
            v += vectors * lanes;
        }
    }
}

}  // namespace TOPSEG_PATH
}  // namespace topseg
