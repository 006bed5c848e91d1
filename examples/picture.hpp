// What stands before and after a network, without any library: pictures as PPM and PGM files
// ("convert photo.jpg photo.ppm" makes one), the bundle's resize rule, and bilinear interpolation.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

struct Size {
    int height = 0, width = 0;
};

// (height, width, channels) values, row by row.
template <class Value>
struct Map {
    Size size;
    int channels = 1;
    std::vector<Value> values;
};

inline Map<std::uint8_t> read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    Map<std::uint8_t> picture;
    picture.channels = 3;
    int maximum = 0;
    file >> kind >> picture.size.width >> picture.size.height >> maximum;
    file.get();  // the one white space before the pixels
    if (!file || kind != "P6" || maximum != 255) throw std::runtime_error(path + ": not a P6 file");
    picture.values.resize(std::size_t(picture.size.height) * std::size_t(picture.size.width) * 3);
    if (!file.read(reinterpret_cast<char*>(picture.values.data()),
                   std::streamsize(picture.values.size())))
        throw std::runtime_error(path + ": truncated");
    return picture;
}

inline void write_pgm(const std::string& path, const Map<std::uint8_t>& mask) {
    std::ofstream file(path, std::ios::binary);
    file << "P5\n" << mask.size.width << ' ' << mask.size.height << "\n255\n";
    file.write(reinterpret_cast<const char*>(mask.values.data()),
               std::streamsize(mask.values.size()));
}

// One number of the bundle's metadata.json, below the first "resize".
inline int resize_rule(const std::string& text, const std::string& key) {
    const std::size_t at = text.find('"' + key + '"', text.find("\"resize\""));
    if (at == std::string::npos) throw std::runtime_error("metadata.json: no resize." + key);
    return std::atoi(text.c_str() + text.find(':', at) + 1);
}

// The network's input size for a picture, by the bundle's rule; short_side may be null there.
inline Size network_size(const std::string& bundle, Size picture) {
    std::ifstream file(bundle + "/metadata.json", std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const auto [shorter, longer] = std::minmax(picture.height, picture.width);
    const int side = resize_rule(text, "short_side"), multiple = resize_rule(text, "multiple");
    const double scale = std::min(double(resize_rule(text, "max_long_side")) / longer,
                                  side > 0 ? double(side) / shorter : 1.0);
    const bool up = text.find("\"round\": \"up\"") != std::string::npos;
    const auto rounded = [&](int pixels) {
        const int whole = int(std::nearbyint(pixels * scale));
        return std::max(1, (whole + (up ? multiple - 1 : multiple / 2)) / multiple) * multiple;
    };
    return {rounded(picture.height), rounded(picture.width)};
}

// Where each of `to` pixels lies between two of `from` samples (pixel centres are aligned).
struct Place {
    int low, high;
    float share;  // of the higher sample
};

inline std::vector<Place> places(int from, int to) {
    std::vector<Place> found;
    for (int i = 0; i < to; ++i) {
        const float at = std::max(0.0f, (float(i) + 0.5f) * float(from) / float(to) - 0.5f);
        const int low = std::min(int(at), from - 1);
        found.push_back({low, std::min(low + 1, from - 1), at - float(low)});
    }
    return found;
}

// value(y, x) of a finer or coarser grid.
template <class Value>
float interpolate(const Value& value, const Place& y, const Place& x) {
    const float top = value(y.low, x.low) + x.share * (value(y.low, x.high) - value(y.low, x.low));
    const float bottom =
        value(y.high, x.low) + x.share * (value(y.high, x.high) - value(y.high, x.low));
    return top + y.share * (bottom - top);
}

// Before the network: the picture at its input's size. Normalisation is part of the graph.
inline Map<std::uint8_t> resized(const Map<std::uint8_t>& picture, Size size) {
    const auto rows = places(picture.size.height, size.height);
    const auto columns = places(picture.size.width, size.width);
    Map<std::uint8_t> out{size, picture.channels, {}};
    for (const Place& y : rows)
        for (const Place& x : columns)
            for (int c = 0; c < picture.channels; ++c) {
                const auto value = [&](int row, int column) {
                    const int pixel = row * picture.size.width + column;
                    return float(picture.values[std::size_t(pixel * picture.channels + c)]);
                };
                out.values.push_back(std::uint8_t(interpolate(value, y, x) + 0.5f));
            }
    return out;
}

// After the network: the best class at every pixel of the picture, from (K, low.height, low.width)
// logits. libtopseg's topseg_finish does the same hundreds of times faster.
inline Map<std::uint8_t> best_class(const float* logits, int classes, Size low, Size size) {
    const auto rows = places(low.height, size.height), columns = places(low.width, size.width);
    Map<std::uint8_t> mask{size, 1, {}};
    for (const Place& y : rows)
        for (const Place& x : columns) {
            int best = 0;
            float most = 0;
            for (int k = 0; k < classes; ++k) {
                const float* plane = logits + k * low.height * low.width;
                const auto value = [&](int row, int column) {
                    return plane[row * low.width + column];
                };
                const float score = interpolate(value, y, x);
                if (k == 0 || score > most) {
                    best = k;
                    most = score;
                }
            }
            mask.values.push_back(std::uint8_t(best));
        }
    return mask;
}
