// The decoders of JPEG and PNG, libjpeg(-turbo) and libpng: those that OpenCV uses in Python, so
// the pixels are the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "image_file.hpp"

namespace topseg_cli {

constexpr std::int64_t max_side = std::int64_t(1) << 20;  // OpenCV's bound

// As they are in the file, not yet upright. Throw InputError.
struct Decoded {
    Image image;
    int orientation = 1;
};
Decoded decode_jpeg(const Bytes& file, const std::string& name, int channels);
Decoded decode_png(const Bytes& file, const std::string& name, int channels);

// What is wrong with the size that a header claims, or "". Each byte of a file can hold no more
// than some pixels, so that a short file gets no large memory.
std::string size_problem(std::int64_t height, std::int64_t width, const Bytes& file,
                         std::int64_t pixels_per_byte);

// The orientation (1 to 8) in a TIFF structure, as EXIF is kept; 1 where there is none.
int tiff_orientation(const std::uint8_t* data, std::size_t size);

}  // namespace topseg_cli
