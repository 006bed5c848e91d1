// Image files of the program: JPEG and PNG in, palette PNG and JPEG out.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace topseg_cli {

// What a user can get wrong; the message says what, where and how to mend it.
struct InputError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// (height, width, channels) bytes; RGB for three channels.
struct Image {
    int height = 0, width = 0, channels = 3;
    std::vector<std::uint8_t> pixels;
};

using Bytes = std::vector<std::uint8_t>;

// Throws InputError where the file is missing, empty or cannot be read.
Bytes read_file(const std::filesystem::path& path);

// Writes to a temporary name beside the target and renames it.
void write_file(const std::filesystem::path& path, const void* data, std::size_t size);

// Decodes a JPEG or PNG file to RGB (channels 3) or grey (1), upright by its EXIF orientation.
// Throws InputError: another format, damaged, truncated, 16-bit, or too large.
Image decode_image(const Bytes& file, const std::string& name, int channels = 3);

// (height, width) indices with a palette of up to 256 colours; bits 16 writes grey values.
Bytes encode_mask(const void* mask, int height, int width, int bits,
                  const std::vector<std::array<std::uint8_t, 3>>& palette);

Bytes encode_jpeg(const Image& image, int quality = 90);

}  // namespace topseg_cli
