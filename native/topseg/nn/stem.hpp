// Stem: a 3x3 convolution at stride 2 straight from the image, normalised row by row.
//
// The padding is zero after the normalisation, as in the network that was trained.
#pragma once

#include "topseg/nn/pointwise.hpp"

namespace topseg {
namespace TOPSEG_PATH {

class Stem {
public:
    Stem() = default;
    Stem(const Conv& conv, const std::vector<float>& scale, const std::vector<float>& shift)
        : channels_(conv.inputs) {
        // (O, C, 3, 3) -> (O, 3 rows, 3 columns and C channels), as a row of pixels has them.
        Conv rows = conv;
        const float* weight = conv.weight.data();
        for (int o = 0; o < conv.outputs; ++o)
            for (int c = 0; c < channels_; ++c)
                for (int tap = 0; tap < 9; ++tap)
                    rows.weight[std::size_t(((o * 3 + tap / 3) * 3 + tap % 3) * channels_ + c)] =
                        *weight++;
        Layout run;
        run.size = 3 * channels_;
        for (int i = 0; i < run.size; ++i) run.place.push_back(i);
        product_ = Pointwise(rows, run, Layout{conv.outputs}, 3);
        scale_ = repeated(scale);
        shift_ = repeated(shift);
    }

    // Floats of a normalised row: one pixel of zeros, the row, and room to write whole vectors.
    std::size_t row_size(int width) const {
        return std::size_t((width + 1 + lanes) * channels_ + lanes);
    }

    // Rows of the image, normalised when they are first asked for; the last three are kept.
    template <class Pixel>
    class Rows {
    public:
        // memory: four rows of row_size(width); zeros stay in the last one
        Rows(const Stem& stem, const Pixel* image, int height, int width, float* memory)
            : stem_(stem), image_(image), height_(height), width_(width), memory_(memory) {
            std::fill_n(memory_, 4 * stem.row_size(width), 0.f);
        }

        // Row y of the image at its first padded pixel; zeros beyond the border.
        const float* at(int y) {
            const auto size = stem_.row_size(width_);
            if (y < 0 || y >= height_) return memory_ + 3 * size;
            float* row = memory_ + std::size_t(y % 3) * size;
            if (kept_[y % 3] != y) {
                kept_[y % 3] = y;
                stem_.normalize(image_ + std::ptrdiff_t(y) * width_ * stem_.channels_, width_, row);
            }
            return row;
        }

    private:
        const Stem& stem_;
        const Pixel* image_;
        int height_, width_;
        float* memory_;
        int kept_[3] = {-1, -1, -1};
    };

    // Columns [from, to) of output row y.
    template <class Pixel>
    void run(Rows<Pixel>& rows, int y, int from, int to, float* out) const {
        const auto step = std::ptrdiff_t(2 * channels_);
        const float* source[3];
        for (int i = 0; i < 3; ++i) source[i] = rows.at(2 * y - 1 + i) + from * step;
        product_.run_three<Activation::relu>(to - from, source, step, out, product_.outputs);
    }

private:
    // One value a channel -> one a float of `channels` vectors, after which the pattern repeats.
    Floats repeated(const std::vector<float>& values) const {
        const auto count = std::size_t(channels_ * lanes);
        Floats out(count);
        for (std::size_t i = 0; i < count; ++i) out[i] = values[i % values.size()];
        return out;
    }

    template <class Pixel>
    void normalize(const Pixel* pixels, int width, float* row) const {
        float* out = row + channels_;
        const int count = width * channels_;
        int at = 0;
        for (; at + channels_ * lanes <= count; at += channels_ * lanes)
            for (int j = 0; j < channels_; ++j)
                store(out + at + j * lanes,
                      load(pixels + at + j * lanes) * load(scale_.data() + j * lanes) -
                          load(shift_.data() + j * lanes));
        for (; at < count; ++at)
            out[at] = float(pixels[at]) * scale_[std::size_t(at % channels_)] -
                      shift_[std::size_t(at % channels_)];
    }

    int channels_ = 3;
    Pointwise product_;
    Floats scale_, shift_;
};

}  // namespace TOPSEG_PATH
}  // namespace topseg
