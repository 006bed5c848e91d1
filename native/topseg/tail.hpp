// The tail: stride-8 logits become a mask of any size, as bilinear interpolation of all classes
// (align_corners = false) followed by argmax would make it, without interpolating all classes.
//
// The pixels between four neighbouring samples form a cell. Interpolation is a convex combination
// of the cell's corners, so a class can win in it only if its largest corner reaches the highest of
// all classes' smallest corners. Most cells have one to three such candidates: a single candidate
// fills its cell at once, several are interpolated alone.
//
// Pruning never changes the answer, not even by rounding, because interpolate() does not leave the
// range of its end points in floating point. So the mask is, bit by bit, that of evaluating every
// class, whatever the code path, the number of threads or the language, as long as interpolate() is
// computed in IEEE single precision. Where the processor's baseline has fused multiply-add, compile
// with -ffp-contract=off to keep it so.
//
// Logits beyond +-1e38, infinities included, count as +-1e38, and NaN as -1e38. Of equal classes
// the lowest wins (class 0 where all are NaN).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "topseg/cpu.hpp"
#include "topseg/exp.hpp"

namespace topseg {

// Contiguous float32 logits (batch, classes, height, width).
struct Logits {
    const float* data;
    int batch, classes, height, width;
};

namespace tail {

constexpr float limit = 1e38f;
constexpr int block = 8;  // cells tested together, pixels interpolated together

// low + t * (high - low) for t in [0, 1] without leaving the two: each rounding (of the difference,
// of the product) may enlarge the step by one part in 2^24, so it is first made smaller by two.
TOPSEG_INLINE float slope(float low, float high) { return (high - low) * (1.0f - 0x1p-23f); }
TOPSEG_INLINE float interpolate(float low, float slope, float t) { return low + t * slope; }

// Where the pixels of one axis lie among its samples: source = (pixel + 0.5) * scale - 0.5, never
// below 0. PyTorch has scale in float32 and rounds source once; double does the same here, being
// exact for a product of two floats.
struct Axis {
    std::vector<int> first;     // cell -> its first pixel; one more entry ends the last cell
    std::vector<float> weight;  // pixel -> its place in the cell, 0 to 1; a block more to read past

    Axis(int cells, int pixels) : first(cells + 1, 0), weight(pixels + block, 0.0f) {
        const double scale = static_cast<float>(cells) / static_cast<float>(pixels);
        for (int pixel = 0; pixel < pixels; ++pixel) {
            const float source = std::max(0.0f, static_cast<float>(scale * (pixel + 0.5) - 0.5));
            const int cell = std::min(static_cast<int>(source), cells - 1);
            weight[pixel] = std::min(source - static_cast<float>(cell), 1.0f);
            first[cell + 1] = pixel + 1;
        }
        for (int cell = 0; cell < cells; ++cell)  // for cells without pixels
            first[cell + 1] = std::max(first[cell + 1], first[cell]);
    }
};

// The memory of one thread. Rows of samples are packed side by side: in the logits the classes of
// a row lie h * w floats apart, often a power of two, and would fall into the same cache sets.
struct Scratch {
    int padded, pitch;  // cells in whole blocks; the same and room for the last right corner
    std::unique_ptr<float[]> upper, lower;       // (classes, pitch) samples above and below
    std::unique_ptr<float[]> high;               // (classes, padded) largest corners
    std::unique_ptr<float[]> bound;              // (padded) highest smallest corner
    std::unique_ptr<std::uint16_t[]> candidate;  // (padded, classes) ascending lists
    std::vector<int> count;                      // (padded) lengths of the lists
    std::vector<unsigned char> reaches;          // (padded) largest corner reaches the bound
    std::vector<float> left, rise;               // (classes) candidates along one row of pixels

    explicit Scratch(const Logits& logits)
        : padded((logits.width + block - 1) / block * block),
          pitch(padded + block),
          upper(new float[std::size_t(logits.classes) * pitch]),
          lower(new float[std::size_t(logits.classes) * pitch]),
          high(new float[std::size_t(logits.classes) * padded]),
          bound(new float[padded]),
          candidate(new std::uint16_t[std::size_t(logits.classes) * padded]),
          count(padded),
          reaches(padded),
          left(logits.classes),
          rise(logits.classes) {}
};

TOPSEG_INLINE void load_row(const Logits& logits, int image, int row, int pitch, float* packed) {
    const int width = logits.width;
    for (int k = 0; k < logits.classes; ++k) {
        const std::size_t plane = std::size_t(image) * logits.classes + k;
        const float* from = logits.data + (plane * logits.height + row) * width;
        float* __restrict to = packed + std::size_t(k) * pitch;
        for (int x = 0; x < width; ++x) {
            const float clamped = from[x] > -limit ? from[x] : -limit;  // NaN: -limit
            to[x] = clamped < limit ? clamped : limit;
        }
        std::fill(to + width, to + pitch, to[width - 1]);
    }
}

// Lists for every cell between the two rows the classes that reach within `margin` of its bound.
TOPSEG_INLINE void list_candidates(Scratch& s, int classes, float margin) {
    const int padded = s.padded;  // locals, lest the compiler reload members after every store
    float* __restrict bound = s.bound.get();
    std::fill(bound, bound + padded, -limit);
    for (int k = 0; k < classes; ++k) {
        const float* __restrict above = s.upper.get() + std::size_t(k) * s.pitch;
        const float* __restrict below = s.lower.get() + std::size_t(k) * s.pitch;
        float* __restrict high = s.high.get() + std::size_t(k) * padded;
        for (int x = 0; x < padded; ++x) {
            const float a = above[x], b = above[x + 1], c = below[x], d = below[x + 1];
            const float low_ab = a < b ? a : b, low_cd = c < d ? c : d;
            const float high_ab = a > b ? a : b, high_cd = c > d ? c : d;
            const float low = low_ab < low_cd ? low_ab : low_cd;
            high[x] = high_ab > high_cd ? high_ab : high_cd;
            bound[x] = bound[x] > low ? bound[x] : low;
        }
    }
    for (int x = 0; x < padded; ++x) bound[x] -= margin;
    int* __restrict count = s.count.data();
    std::fill(count, count + padded, 0);
    std::uint16_t* __restrict candidate = s.candidate.get();
    unsigned char* __restrict reaches = s.reaches.data();
    for (int k = 0; k < classes; ++k) {
        const float* __restrict high = s.high.get() + std::size_t(k) * padded;
        for (int x = 0; x < padded; ++x) reaches[x] = high[x] >= bound[x];
        for (int first = 0; first < padded; first += block) {
            std::uint64_t any;  // one byte a cell of the block
            static_assert(sizeof any == block);
            std::memcpy(&any, reaches + first, sizeof any);
            if (!any) continue;
            for (int x = first; x < first + block; ++x) {
                candidate[std::size_t(x) * classes + count[x]] = std::uint16_t(k);
                count[x] += reaches[x];
            }
        }
    }
}

// The best of n classes at a block of pixels along a row; of equals the first.
template <Path path>
inline void best_of(const float* left, const float* rise, const std::uint16_t* classes, int n,
                    const float* t, float* best, int* winner) {
#if defined(__GNUC__) || defined(__clang__)
    // 16 bytes are a register on every processor; arrays in plain loops would live in memory.
    typedef float Floats __attribute__((vector_size(16)));
    typedef std::int32_t Ints __attribute__((vector_size(16)));
    for (int half = 0; half < block; half += 4) {
        Floats weight;
        std::memcpy(&weight, t + half, sizeof weight);
        Floats top = left[0] + weight * rise[0];
        Ints index = Ints{} + classes[0];
        for (int i = 1; i < n; ++i) {
            const Floats value = left[i] + weight * rise[i];
            const auto better = value > top;
            top = better ? value : top;
            index = better ? Ints{} + classes[i] : index;
        }
        std::memcpy(best + half, &top, sizeof top);
        std::memcpy(winner + half, &index, sizeof index);
    }
#else
    for (int pixel = 0; pixel < block; ++pixel) {
        best[pixel] = interpolate(left[0], rise[0], t[pixel]);
        winner[pixel] = classes[0];
        for (int i = 1; i < n; ++i) {
            const float value = interpolate(left[i], rise[i], t[pixel]);
            if (!(value > best[pixel])) continue;
            best[pixel] = value;
            winner[pixel] = classes[i];
        }
    }
#endif
}

#ifdef TOPSEG_AVX2
template <>
__attribute__((target("avx2"))) inline void best_of<Path::avx2>(const float* left,
                                                                const float* rise,
                                                                const std::uint16_t* classes, int n,
                                                                const float* t, float* best,
                                                                int* winner) {
    const __m256 weight = _mm256_loadu_ps(t);
    __m256 top = _mm256_set1_ps(left[0]) + weight * _mm256_set1_ps(rise[0]);
    __m256i index = _mm256_set1_epi32(classes[0]);
    for (int i = 1; i < n; ++i) {
        const __m256 value = _mm256_set1_ps(left[i]) + weight * _mm256_set1_ps(rise[i]);
        const __m256 better = _mm256_cmp_ps(value, top, _CMP_GT_OQ);
        top = _mm256_max_ps(value, top);
        index =
            _mm256_blendv_epi8(index, _mm256_set1_epi32(classes[i]), _mm256_castps_si256(better));
    }
    _mm256_storeu_ps(best, top);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(winner), index);
}
#endif

// 1 / sum of exp(value - best): the winner's probability at a block of pixels.
TOPSEG_INLINE void probability_of(const float* left, const float* rise, int n, const float* t,
                                  const float* best, float* probability) {
    // Exponentials are taken in one plain loop for some classes at a time, and summed apart: tens
    // of thousands of small terms would vanish one by one beside the winner's 1.
    constexpr int some = 32;
    float sum[block] = {};
    for (int first = 0; first < n; first += some) {
        const int end = std::min(n, first + some), terms = (end - first) * block;
        float term[some * block];
        for (int i = first; i < end; ++i)
            for (int pixel = 0; pixel < block; ++pixel)
                term[(i - first) * block + pixel] =
                    interpolate(left[i], rise[i], t[pixel]) - best[pixel];
        for (int i = 0; i < terms; ++i) term[i] = exp_of_nonpositive<Path::portable>(term[i]);
        for (int i = block; i < terms; i += block)
            for (int pixel = 0; pixel < block; ++pixel) term[pixel] += term[i + pixel];
        for (int pixel = 0; pixel < block; ++pixel) sum[pixel] += term[pixel];
    }
    for (int pixel = 0; pixel < block; ++pixel) probability[pixel] = 1.0f / sum[pixel];
}

// Writes the pixels of one row of cells.
template <Path path, class Label>
TOPSEG_INLINE void write_cells(Scratch& s, int classes, int width, const Axis& columns,
                               const float* row_weight, int rows, Label* mask, float* probability) {
    const int pixels = columns.first[width];
    for (int x = 0; x < width; ++x)  // as if every cell had its first candidate alone
        std::fill(mask + columns.first[x], mask + columns.first[x + 1],
                  Label(s.candidate[std::size_t(x) * classes]));
    for (int row = 1; row < rows; ++row)
        std::memcpy(mask + std::size_t(row) * pixels, mask, pixels * sizeof(Label));
    if (probability) std::fill(probability, probability + std::size_t(rows) * pixels, 1.0f);

    for (int x = 0; x < width; ++x) {
        const int n = s.count[x], first = columns.first[x], end = columns.first[x + 1];
        if (n == 1 || first == end) continue;
        const std::uint16_t* candidate = s.candidate.get() + std::size_t(x) * classes;
        for (int row = 0; row < rows; ++row) {
            for (int i = 0; i < n; ++i) {
                const float* above = s.upper.get() + std::size_t(candidate[i]) * s.pitch + x;
                const float* below = s.lower.get() + std::size_t(candidate[i]) * s.pitch + x;
                const float t = row_weight[row];
                s.left[i] = interpolate(above[0], slope(above[0], below[0]), t);
                s.rise[i] = slope(s.left[i], interpolate(above[1], slope(above[1], below[1]), t));
            }
            const std::size_t start = std::size_t(row) * pixels;
            for (int pixel = first; pixel < end; pixel += block) {
                const float* t = columns.weight.data() + pixel;
                const int m = std::min(block, end - pixel);
                float best[block];
                int winner[block];
                best_of<path>(s.left.data(), s.rise.data(), candidate, n, t, best, winner);
                if (m == block)  // of constant length the copy is one store
                    std::copy_n(winner, block, mask + start + pixel);
                else
                    std::copy_n(winner, m, mask + start + pixel);
                if (!probability) continue;
                float chance[block];
                probability_of(s.left.data(), s.rise.data(), n, t, best, chance);
                std::copy_n(chance, m, probability + start + pixel);
            }
        }
    }
}

// A run of rows of cells of one image.
struct Part {
    int image, first, end;
};

// Several parts a thread, so that one thread held up does not hold up all.
inline std::vector<Part> parts_of(int batch, int height, int threads) {
    const int pieces = threads == 1 ? 1 : std::min(height, 4 * threads);
    std::vector<Part> parts;
    for (int image = 0; image < batch; ++image)
        for (int i = 0; i < pieces; ++i)
            parts.push_back({image, int(std::int64_t(height) * i / pieces),
                             int(std::int64_t(height) * (i + 1) / pieces)});
    return parts;
}

template <Path path, class Label>
TOPSEG_INLINE void run_part(const Logits& logits, const Part& part, const Axis& rows,
                            const Axis& columns, Scratch& s, Label* mask, float* probability) {
    const int height = rows.first[logits.height], width = columns.first[logits.width];
    // A class this far below the best adds less than exp(-12) / classes to the denominator.
    const float margin = probability ? 12.0f + std::log(float(logits.classes)) : 0.0f;
    int loaded = -1;  // the row of samples in s.lower
    for (int y = part.first; y < part.end; ++y) {
        const int first = rows.first[y], count = rows.first[y + 1] - first;
        if (count == 0) continue;
        if (loaded == y)
            std::swap(s.upper, s.lower);
        else
            load_row(logits, part.image, y, s.pitch, s.upper.get());
        loaded = std::min(y + 1, logits.height - 1);
        load_row(logits, part.image, loaded, s.pitch, s.lower.get());
        list_candidates(s, logits.classes, margin);
        const std::size_t start = (std::size_t(part.image) * height + first) * width;
        write_cells<path>(s, logits.classes, logits.width, columns, rows.weight.data() + first,
                          count, mask + start, probability ? probability + start : nullptr);
    }
}

template <Path path>
struct Entry {
    template <class... Arguments>
    static void run(Arguments&&... arguments) {
        run_part<path>(arguments...);
    }
};

#ifdef TOPSEG_AVX2
template <>
struct Entry<Path::avx2> {
    template <class... Arguments>
    __attribute__((target("avx2"))) static void run(Arguments&&... arguments) {
        run_part<Path::avx2>(arguments...);
    }
};
#endif

}  // namespace tail

// Interpolates logits bilinearly to (height, width) and writes the best class of every pixel.
//
//   mask         (batch, height, width) uint8_t, or uint16_t above 256 classes
//   probability  (batch, height, width) the winner's softmax probability within 1e-4; may be null
//   threads      the result does not depend on it
//
// Throws std::invalid_argument for a size below 1, too many classes for Label or a path that this
// processor cannot run (without exceptions it aborts), std::bad_alloc for want of memory.
template <class Label>
void upsample_argmax(const Logits& logits, int height, int width, Label* mask,
                     float* probability = nullptr, int threads = 1, Path path = fastest_path()) {
    require(
        std::min({logits.batch, logits.classes, logits.height, logits.width, height, width}) > 0,
        "upsample_argmax: sizes must be at least 1");
    require(logits.classes - 1 <= std::numeric_limits<Label>::max(),
            "upsample_argmax: too many classes for the mask's type");
    require(supported(path), "upsample_argmax: unsupported code path");

    const tail::Axis rows(logits.height, height), columns(logits.width, width);
    threads = std::max(1, std::min(threads, logits.batch * logits.height));
    const std::vector<tail::Part> parts = tail::parts_of(logits.batch, logits.height, threads);
    std::vector<tail::Scratch> scratch;
    scratch.reserve(threads);
    for (int worker = 0; worker < threads; ++worker) scratch.emplace_back(logits);

    run_parts(int(parts.size()), threads, [&](int part, int worker) {
#ifdef TOPSEG_AVX2
        if (path == Path::avx2)
            return tail::Entry<Path::avx2>::run(logits, parts[part], rows, columns, scratch[worker],
                                                mask, probability);
#endif
        tail::Entry<Path::portable>::run(logits, parts[part], rows, columns, scratch[worker], mask,
                                         probability);
    });
}

}  // namespace topseg
