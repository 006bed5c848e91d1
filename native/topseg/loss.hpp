// The lean loss: cross-entropy of bilinearly upsampled logits and its gradient in one pass, without
// the (batch, classes, H, W) tensor.
//
// The pixels between four neighbouring samples form a cell. Along a row of pixels the logits are
// interpolated once between the rows of samples above and below; then, cell by cell, some pixels at
// a time become exponentials and at once the gradient of the cell's corners, in the first-level
// cache. There a sample's classes lie side by side, so that every loop runs along them.
//
// Each row of samples gets its gradient from the cells above and from those below, two sums formed
// in a fixed order and then added once. So neither the number of threads nor the way they share the
// rows changes a bit. Code paths differ by rounding.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "topseg/cpu.hpp"
#include "topseg/exp.hpp"
#include "topseg/tail.hpp"

namespace topseg {

struct CrossEntropy {
    // Logits and their gradient have one shape and one layout; strides count floats.
    const float* logits;
    float* gradient;  // null: not computed
    int batch, classes, height, width;
    std::ptrdiff_t image_stride, class_stride, row_stride, column_stride;

    const std::int32_t* target;  // (batch, target_height, target_width) classes
    int target_height, target_width;
    std::int32_t ignore_index;

    const float* class_weights;  // (classes); null: all 1
    float label_smoothing;       // as torch.nn.functional.cross_entropy defines it

    // (batch, target_height, target_width): minus the logarithm of the target's probability, 0
    // where ignored; null: not written.
    float* pixel_loss;
};

struct CrossEntropySum {
    double sum = 0;     // over the pixels that are not ignored
    double count = 0;   // of these, each as much as its class weighs
    bool valid = true;  // every target is a class or ignored
};

namespace loss {

constexpr int lanes = 8;                // numbers in a vector
constexpr int block = 8;                // pixels of a cell treated together
constexpr float no_class = -1e38f;      // logit of the padding
constexpr float smallest_sum = 1e-26f;  // exp(-60)

// The memory of one thread. Rows of samples are (width + 1, padded): the last column repeats the
// outermost samples, and classes fill whole vectors.
struct Scratch {
    int padded;
    std::vector<float> upper, lower, line;  // samples; interpolated along one row of pixels
    std::vector<float> upper_gradient, lower_gradient, line_gradient;
    std::vector<float> carry;    // gradient of the upper samples that the cells above them gave
    std::vector<float> weights;  // (padded)
    std::vector<float> values;   // (block, padded) exponentials

    explicit Scratch(const CrossEntropy& job)
        : padded((job.classes + lanes - 1) / lanes * lanes), weights(padded, 0.0f) {
        for (auto* samples : {&upper, &lower, &line})
            samples->assign(std::size_t(job.width + 1) * padded, no_class);
        if (job.gradient)
            for (auto* gradient : {&upper_gradient, &lower_gradient, &line_gradient, &carry})
                gradient->assign(std::size_t(job.width + 1) * padded, 0.0f);
        for (int k = 0; k < job.classes; ++k)
            weights[k] = job.class_weights ? job.class_weights[k] : 1.0f;
        values.resize(std::size_t(block) * padded);
    }
};

TOPSEG_INLINE void load_row(const CrossEntropy& job, int image, int row, int padded, float* to) {
    const float* from = job.logits + image * job.image_stride + row * job.row_stride;
    if (job.class_stride == 1)
        for (int x = 0; x < job.width; ++x)
            std::copy_n(from + x * job.column_stride, job.classes, to + std::size_t(x) * padded);
    else
        for (int k = 0; k < job.classes; ++k)
            for (int x = 0; x < job.width; ++x)
                to[std::size_t(x) * padded + k] =
                    from[k * job.class_stride + x * job.column_stride];
    std::copy_n(to + std::size_t(job.width - 1) * padded, padded,
                to + std::size_t(job.width) * padded);
}

// Adds the gradient of the outermost samples' repetition to theirs.
TOPSEG_INLINE void fold_last(int width, int padded, float* gradient) {
    float* last = gradient + std::size_t(width - 1) * padded;
    for (int k = 0; k < padded; ++k) last[k] += last[padded + k];
}

template <bool add>
TOPSEG_INLINE void store_row(const CrossEntropy& job, int image, int row, int padded,
                             const float* from) {
    float* to = job.gradient + image * job.image_stride + row * job.row_stride;
    const auto store = [&](int k, int x) {
        float& target = to[k * job.class_stride + x * job.column_stride];
        const float value = from[std::size_t(x) * padded + k];
        target = add ? target + value : value;
    };
    if (job.class_stride == 1)
        for (int x = 0; x < job.width; ++x)
            for (int k = 0; k < job.classes; ++k) store(k, x);
    else
        for (int k = 0; k < job.classes; ++k)
            for (int x = 0; x < job.width; ++x) store(k, x);
}

// Sums and maxima run in `lanes` interleaved parts, so that they vectorise.
TOPSEG_INLINE float sum_of(const float* values, int padded) {
    float part[lanes] = {};
    for (int k = 0; k < padded; k += lanes)
        for (int lane = 0; lane < lanes; ++lane) part[lane] += values[k + lane];
    return ((part[0] + part[4]) + (part[2] + part[6])) +
           ((part[1] + part[5]) + (part[3] + part[7]));
}

TOPSEG_INLINE float weighted_sum_of(const float* values, const float* weights, int padded) {
    float part[lanes] = {};
    for (int k = 0; k < padded; k += lanes)
        for (int lane = 0; lane < lanes; ++lane) part[lane] += values[k + lane] * weights[k + lane];
    return ((part[0] + part[4]) + (part[2] + part[6])) +
           ((part[1] + part[5]) + (part[3] + part[7]));
}

TOPSEG_INLINE float largest_of(const float* left, const float* right, int padded) {
    float part[lanes];
    std::fill_n(part, lanes, no_class);
    for (int k = 0; k < padded; k += lanes)
        for (int lane = 0; lane < lanes; ++lane) {
            const float l = left[k + lane], r = right[k + lane], value = l > r ? l : r;
            part[lane] = part[lane] > value ? part[lane] : value;
        }
    return *std::max_element(part, part + lanes);  // NaN loses, and shows in the exponentials
}

// The labelled pixels of one row within one cell, some at a time.
struct Pixels {
    int count;
    float left_weight[block], right_weight[block], reference[block], sum[block];
    int index[block];
    std::int32_t target[block];
};

// values = exp(interpolated logits - reference), and their sums.
template <Path path>
TOPSEG_INLINE void take_exponentials(Pixels& pixels, const float* left, const float* right,
                                     int padded, float* values) {
    for (int p = 0; p < pixels.count; ++p) {
        const float a = pixels.left_weight[p], b = pixels.right_weight[p];
        const float reference = pixels.reference[p];
        float* __restrict value = values + std::size_t(p) * padded;
        for (int k = 0; k < padded; ++k)
            value[k] = exp_of_nonpositive<path>(
                multiply_add<path>(a, left[k], multiply_add<path>(b, right[k], -reference)));
        pixels.sum[p] = sum_of(value, padded);
    }
}

// gradient_left += sum of left_factor * values over the pixels; likewise to the right.
template <Path path>
TOPSEG_INLINE void add_gradient(int count, const float* left_factor, const float* right_factor,
                                const float* values, int padded, float* __restrict left,
                                float* __restrict right) {
    if (count == block) {  // most often: read and write the gradient once for all
        for (int k = 0; k < padded; ++k) {
            float l = left[k], r = right[k];
            for (int p = 0; p < block; ++p) {
                const float value = values[std::size_t(p) * padded + k];
                l = multiply_add<path>(left_factor[p], value, l);
                r = multiply_add<path>(right_factor[p], value, r);
            }
            left[k] = l;
            right[k] = r;
        }
        return;
    }
    for (int p = 0; p < count; ++p) {
        const float* value = values + std::size_t(p) * padded;
        const float a = left_factor[p], b = right_factor[p];
        for (int k = 0; k < padded; ++k) {
            left[k] = multiply_add<path>(a, value[k], left[k]);
            right[k] = multiply_add<path>(b, value[k], right[k]);
        }
    }
}

// One row of pixels: s.line holds its logits at the samples' columns, s.line_gradient receives.
template <Path path>
TOPSEG_INLINE void run_line(const CrossEntropy& job, const tail::Axis& columns, Scratch& s,
                            const std::int32_t* target, float* pixel_loss, CrossEntropySum& total) {
    const int padded = s.padded;
    const float smoothing = job.label_smoothing / float(job.classes);  // of every class
    float all_weights = 0;
    if (smoothing > 0) all_weights = sum_of(s.weights.data(), padded);
    Pixels pixels;
    for (int x = 0; x < job.width; ++x) {
        const float* left = s.line.data() + std::size_t(x) * padded;
        const float* right = left + padded;
        float weighted_left = 0, weighted_right = 0;  // sums over classes, for label smoothing
        bool measured = false;
        float reference = 0;
        for (int pixel = columns.first[x]; pixel < columns.first[x + 1];) {
            pixels.count = 0;
            for (; pixel < columns.first[x + 1] && pixels.count < block; ++pixel) {
                const std::int32_t truth = target[pixel];
                if (pixel_loss) pixel_loss[pixel] = 0;
                if (truth == job.ignore_index) continue;
                if (truth < 0 || truth >= job.classes) {
                    total.valid = false;
                    continue;
                }
                const int p = pixels.count++;
                pixels.index[p] = pixel;
                pixels.target[p] = truth;
                pixels.right_weight[p] = columns.weight[pixel];
                pixels.left_weight[p] = 1.0f - columns.weight[pixel];
            }
            if (pixels.count == 0) continue;
            if (!measured) {
                measured = true;
                reference = largest_of(left, right, padded);
                if (smoothing > 0) {
                    weighted_left = weighted_sum_of(left, s.weights.data(), padded);
                    weighted_right = weighted_sum_of(right, s.weights.data(), padded);
                }
            }
            // The cell's largest logit serves all its pixels, unless it is so far above the largest
            // of one of them that exponentials vanish.
            std::fill_n(pixels.reference, block, reference);
            take_exponentials<path>(pixels, left, right, padded, s.values.data());
            if (!(*std::min_element(pixels.sum, pixels.sum + pixels.count) >= smallest_sum)) {
                for (int p = 0; p < pixels.count; ++p) {
                    float& largest = pixels.reference[p] = no_class;
                    for (int k = 0; k < padded; ++k)
                        largest = std::max(largest, pixels.left_weight[p] * left[k] +
                                                        pixels.right_weight[p] * right[k]);
                }
                take_exponentials<path>(pixels, left, right, padded, s.values.data());
            }
            float left_factor[block], right_factor[block], left_share = 0, right_share = 0;
            for (int p = 0; p < pixels.count; ++p) {
                const float a = pixels.left_weight[p], b = pixels.right_weight[p];
                const int truth = pixels.target[p];
                const float weight = s.weights[truth];
                const float hard = (1.0f - job.label_smoothing) * weight;
                const float factor = hard + smoothing * all_weights;
                const double log_sum = double(pixels.reference[p]) + std::log(pixels.sum[p]);
                const float logit = a * left[truth] + b * right[truth];
                total.sum += factor * log_sum - hard * logit -
                             smoothing * (a * weighted_left + b * weighted_right);
                total.count += weight;
                if (pixel_loss) pixel_loss[pixels.index[p]] = float(log_sum - logit);
                if (!job.gradient) continue;
                float* gradient = s.line_gradient.data() + std::size_t(x) * padded;
                gradient[truth] -= a * hard;
                gradient[padded + truth] -= b * hard;
                left_factor[p] = a * factor / pixels.sum[p];
                right_factor[p] = b * factor / pixels.sum[p];
                left_share += a;
                right_share += b;
            }
            if (!job.gradient) continue;
            float* __restrict gradient = s.line_gradient.data() + std::size_t(x) * padded;
            add_gradient<path>(pixels.count, left_factor, right_factor, s.values.data(), padded,
                               gradient, gradient + padded);
            if (smoothing > 0)
                for (int k = 0; k < padded; ++k) {
                    gradient[k] -= smoothing * left_share * s.weights[k];
                    gradient[padded + k] -= smoothing * right_share * s.weights[k];
                }
        }
    }
}

// A run of rows of cells of one image. The gradient that its last row gives to the samples below
// goes to `edge` if these belong to another part.
template <Path path>
TOPSEG_INLINE void run_part(const CrossEntropy& job, const tail::Part& part, const tail::Axis& rows,
                            const tail::Axis& columns, Scratch& s, std::vector<float>& edge,
                            CrossEntropySum* totals) {
    const std::size_t row_floats = s.line.size();
    std::fill(s.carry.begin(), s.carry.end(), 0.0f);
    load_row(job, part.image, part.first, s.padded, s.lower.data());
    for (int y = part.first; y < part.end; ++y) {
        s.upper.swap(s.lower);
        load_row(job, part.image, std::min(y + 1, job.height - 1), s.padded, s.lower.data());
        std::fill(s.upper_gradient.begin(), s.upper_gradient.end(), 0.0f);
        std::fill(s.lower_gradient.begin(), s.lower_gradient.end(), 0.0f);
        for (int row = rows.first[y]; row < rows.first[y + 1]; ++row) {
            const float b = rows.weight[row], a = 1.0f - b;
            {
                const float* upper = s.upper.data();
                const float* lower = s.lower.data();
                float* __restrict line = s.line.data();
                for (std::size_t i = 0; i < row_floats; ++i) line[i] = a * upper[i] + b * lower[i];
            }
            std::fill(s.line_gradient.begin(), s.line_gradient.end(), 0.0f);
            const std::size_t start =
                (std::size_t(part.image) * job.target_height + row) * job.target_width;
            run_line<path>(job, columns, s, job.target + start,
                           job.pixel_loss ? job.pixel_loss + start : nullptr, totals[y]);
            if (!job.gradient) continue;
            const float* __restrict line = s.line_gradient.data();
            float* __restrict upper = s.upper_gradient.data();
            float* __restrict lower = s.lower_gradient.data();
            for (std::size_t i = 0; i < row_floats; ++i) {
                upper[i] = multiply_add<path>(a, line[i], upper[i]);
                lower[i] = multiply_add<path>(b, line[i], lower[i]);
            }
        }
        if (!job.gradient) continue;
        float* __restrict upper = s.upper_gradient.data();
        float* __restrict lower = s.lower_gradient.data();
        float* __restrict carry = s.carry.data();
        if (y == job.height - 1)  // nothing lies below: both rows of samples are the last
            for (std::size_t i = 0; i < row_floats; ++i) upper[i] += lower[i];
        fold_last(job.width, s.padded, upper);
        fold_last(job.width, s.padded, lower);
        for (std::size_t i = 0; i < row_floats; ++i) upper[i] += carry[i];
        store_row<false>(job, part.image, y, s.padded, upper);
        s.carry.swap(s.lower_gradient);
    }
    if (job.gradient && part.end < job.height) edge = s.carry;
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
    __attribute__((target("avx2,fma"))) static void run(Arguments&&... arguments) {
        run_part<Path::avx2>(arguments...);
    }
};
#endif

}  // namespace loss

// Computes what `job` asks for. Threads do not change the result.
inline CrossEntropySum upsampled_cross_entropy(const CrossEntropy& job, int threads = 1,
                                               Path path = fastest_path()) {
    require(std::min({job.batch, job.classes, job.height, job.width, job.target_height,
                      job.target_width}) > 0,
            "upsampled_cross_entropy: sizes must be at least 1");
    require(supported(path), "upsampled_cross_entropy: unsupported code path");
    const tail::Axis rows(job.height, job.target_height), columns(job.width, job.target_width);
    threads = std::max(1, std::min(threads, job.batch * job.height));
    const std::vector<tail::Part> parts = tail::parts_of(job.batch, job.height, threads);
    std::vector<std::vector<float>> edges(parts.size());
    std::vector<loss::Scratch> scratch(threads, loss::Scratch(job));
    std::vector<CrossEntropySum> totals(std::size_t(job.batch) * job.height);

    run_parts(int(parts.size()), threads, [&](int part, int worker) {
        CrossEntropySum* total = totals.data() + std::size_t(parts[part].image) * job.height;
#ifdef TOPSEG_AVX2
        if (path == Path::avx2)
            return loss::Entry<Path::avx2>::run(job, parts[part], rows, columns, scratch[worker],
                                                edges[part], total);
#endif
        loss::Entry<Path::portable>::run(job, parts[part], rows, columns, scratch[worker],
                                         edges[part], total);
    });

    for (std::size_t i = 0; i < parts.size(); ++i)
        if (!edges[i].empty())
            loss::store_row<true>(job, parts[i].image, parts[i].end, scratch[0].padded,
                                  edges[i].data());
    CrossEntropySum result;
    for (const CrossEntropySum& total : totals) {
        result.sum += total.sum;
        result.count += total.count;
        result.valid &= total.valid;
    }
    return result;
}

}  // namespace topseg
