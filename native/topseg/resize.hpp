// How an image becomes the network's input: the bundle's rule for the size, and OpenCV's bilinear
// resize of bytes (INTER_LINEAR, 11-bit weights), integer by integer, so that the network sees here
// what it sees in Python and in the browser.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace topseg {

struct Size {
    int height = 0, width = 0;
    bool operator==(const Size& other) const {
        return height == other.height && width == other.width;
    }
};

// The metadata's "resize" section.
struct ResizeRule {
    int short_side = 512;  // pixels of the shorter side; 0 keeps the image's size
    int max_long_side = 2048;
    int multiple = 64;  // both sides are rounded to a multiple of this many pixels
    bool up = false;    // round up, as the reference does, instead of to the nearest
};

// The network's input size for an image; both sides are at least one multiple.
inline Size network_size(const ResizeRule& rule, Size size) {
    double scale = double(rule.max_long_side) / std::max(size.height, size.width);
    scale = std::min(
        scale, rule.short_side ? double(rule.short_side) / std::min(size.height, size.width) : 1.0);
    const auto rounded = [&](int side) {
        const auto pixels = std::int64_t(std::nearbyint(side * scale));  // half to even
        const std::int64_t m = rule.multiple;
        const std::int64_t count = rule.up ? (pixels + m - 1) / m : (2 * pixels + m) / (2 * m);
        return int(std::max<std::int64_t>(1, count) * m);
    };
    return {rounded(size.height), rounded(size.width)};
}

namespace detail {

constexpr int resize_bits = 11;

// For a pixel of a resized axis: its two samples and their weights, of 2^11 in all.
struct Tap {
    int low, high, low_weight, high_weight;
};

// inside: OpenCV drops the weight beyond the border across, and keeps it down; with both samples
// the same it matters to the rounding alone.
inline std::vector<Tap> resize_taps(int samples, int pixels, bool inside) {
    std::vector<Tap> taps;
    taps.reserve(std::size_t(pixels));
    const double step = double(samples) / pixels;
    for (int pixel = 0; pixel < pixels; ++pixel) {
        const auto source = float((pixel + 0.5) * step - 0.5);
        const int below = int(std::floor(source));
        const bool beyond = below < 0 || below >= samples - 1;
        const float weight = inside && beyond ? 0 : source - float(below);
        taps.push_back({std::clamp(below, 0, samples - 1), std::clamp(below + 1, 0, samples - 1),
                        int(std::nearbyint((1 - weight) * (1 << resize_bits))),
                        int(std::nearbyint(weight * (1 << resize_bits)))});
    }
    return taps;
}

// One row of the image at its new width, times 2^7: what the rows' weights are applied to.
inline void stretch_row(const std::uint8_t* row, const Tap* taps, const Tap* end, int channels,
                        std::int16_t* out) {
    for (; taps != end; ++taps) {
        const std::uint8_t* low = row + std::ptrdiff_t(taps->low) * channels;
        const std::uint8_t* high = row + std::ptrdiff_t(taps->high) * channels;
        for (int c = 0; c < channels; ++c)
            *out++ = std::int16_t((low[c] * taps->low_weight + high[c] * taps->high_weight) >> 4);
    }
}

// The same of three channels: a pixel at a time where four bytes can be read and four values
// written, the rest one by one.
inline void stretch_rgb(const std::uint8_t* row, const Tap* taps, const Tap* end, int samples,
                        std::int16_t* out) {
#ifdef __SSE2__
    for (; end - taps > 1 && taps->high < samples - 1; ++taps, out += 3) {
        std::int32_t low, high;
        std::memcpy(&low, row + std::ptrdiff_t(taps->low) * 3, 4);
        std::memcpy(&high, row + std::ptrdiff_t(taps->high) * 3, 4);
        const __m128i bytes = _mm_unpacklo_epi8(_mm_cvtsi32_si128(low), _mm_cvtsi32_si128(high));
        const __m128i pairs = _mm_unpacklo_epi8(bytes, _mm_setzero_si128());
        const __m128i weights = _mm_set1_epi32(taps->high_weight << 16 | taps->low_weight);
        const __m128i sums = _mm_srai_epi32(_mm_madd_epi16(pairs, weights), 4);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packs_epi32(sums, sums));
    }
#else
    (void)samples;
#endif
    stretch_row(row, taps, end, 3, out);
}

// OpenCV averages the four samples of an exact half. With 1, 3 or 4 channels that is what the
// weights give; with others it rounds halves to even.
inline void halve_image(const std::uint8_t* image, std::ptrdiff_t row_bytes, int channels, Size to,
                        std::uint8_t* out) {
    for (int y = 0; y < to.height; ++y) {
        const std::uint8_t* above = image + 2 * y * row_bytes;
        const std::uint8_t* below = above + row_bytes;
        for (int x = 0; x < to.width; ++x, above += 2 * channels, below += 2 * channels)
            for (int c = 0; c < channels; ++c) {
                const int sum = above[c] + above[c + channels] + below[c] + below[c + channels];
                const int floor = sum >> 2, rest = sum & 3;
                *out++ = std::uint8_t(floor + (rest == 3 || (rest == 2 && (floor & 1))));
            }
    }
}

}  // namespace detail

// Resizes bytes bilinearly.
//   image: (height, width, channels), rows row_bytes apart
//   out:   (new height, new width, channels), contiguous
inline void resize_image(const std::uint8_t* image, Size from, std::ptrdiff_t row_bytes,
                         int channels, Size to, std::uint8_t* out) {
    const std::size_t length = std::size_t(to.width) * std::size_t(channels);
    if (from == to) {
        for (int y = 0; y < from.height; ++y)
            std::copy_n(image + y * row_bytes, length, out + std::size_t(y) * length);
        return;
    }
    const bool half = from.height == 2 * to.height && from.width == 2 * to.width;
    if (half && channels != 1 && channels != 3 && channels != 4) {
        detail::halve_image(image, row_bytes, channels, to, out);
        return;
    }
    const auto columns = detail::resize_taps(from.width, to.width, true);
    const auto rows = detail::resize_taps(from.height, to.height, false);
    // The last two stretched rows are kept: neighbours in the output share them.
    std::vector<std::int16_t> kept[2] = {std::vector<std::int16_t>(length),
                                         std::vector<std::int16_t>(length)};
    int row_of[2] = {-1, -1};
    const auto stretched = [&](int row, int other) {
        for (int slot = 0; slot < 2; ++slot)
            if (row_of[slot] == row) return slot;
        const int slot = other == 0 ? 1 : 0;
        row_of[slot] = row;
        const std::uint8_t* source = image + row * row_bytes;
        const detail::Tap *taps = columns.data(), *end = taps + columns.size();
        if (channels == 3)
            detail::stretch_rgb(source, taps, end, from.width, kept[slot].data());
        else
            detail::stretch_row(source, taps, end, channels, kept[slot].data());
        return slot;
    };
    for (const detail::Tap& tap : rows) {
        const int above = stretched(tap.low, -1);
        const int below = stretched(tap.high, above);
        const std::int16_t* upper = kept[above].data();
        const std::int16_t* lower = kept[below].data();
        const auto upper_weight = std::int16_t(tap.low_weight);
        const auto lower_weight = std::int16_t(tap.high_weight);
        for (std::size_t i = 0; i < length; ++i) {
            const auto a = std::int16_t((upper_weight * upper[i]) >> 16);
            const auto b = std::int16_t((lower_weight * lower[i]) >> 16);
            out[i] = std::uint8_t((a + b + 2) >> 2);
        }
        out += length;
    }
}

}  // namespace topseg
