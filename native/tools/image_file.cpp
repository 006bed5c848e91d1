#include "image_file.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

#include "codecs.hpp"

namespace topseg_cli {
namespace {

constexpr std::int64_t max_pixels = std::int64_t(1) << 30;  // OpenCV's bound
constexpr std::uint8_t png_start[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

File open_file(const std::filesystem::path& path, const char* mode) {
    return {std::fopen(path.string().c_str(), mode), std::fclose};
}

Image turned(Decoded found) {
    const auto& [image, orientation] = found;
    if (orientation == 1) return std::move(found.image);
    const bool swap = orientation >= 5;
    const bool mirror =
        orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    const bool flip = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    Image out{swap ? image.width : image.height, swap ? image.height : image.width, image.channels,
              Bytes(image.pixels.size())};
    const std::size_t channels = std::size_t(image.channels);
    std::uint8_t* target = out.pixels.data();
    for (int y = 0; y < out.height; ++y)
        for (int x = 0; x < out.width; ++x, target += channels) {
            int row = flip ? out.height - 1 - y : y, column = mirror ? out.width - 1 - x : x;
            if (swap) std::swap(row, column);
            const std::size_t pixel = std::size_t(row) * std::size_t(image.width) + column;
            std::copy_n(&image.pixels[pixel * channels], channels, target);
        }
    return out;
}

}  // namespace

std::string size_problem(std::int64_t height, std::int64_t width, const Bytes& file,
                         std::int64_t pixels_per_byte) {
    const std::string size = std::to_string(height) + "x" + std::to_string(width);
    if (height < 1 || width < 1 || height > max_side || width > max_side ||
        height * width > max_pixels)
        return "got " + size + " (height x width), expected at most 2^30 pixels";
    if (height * width / pixels_per_byte > std::int64_t(file.size()))
        return "its header claims " + size + " pixels, more than its bytes can hold";
    return "";
}

int tiff_orientation(const std::uint8_t* data, std::size_t size) {
    if (size < 8) return 1;
    const bool little = data[0] == 'I';
    const auto number = [&](std::size_t at, std::size_t bytes) {
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i)
            value |= std::uint32_t(data[at + i]) << 8 * (little ? i : bytes - 1 - i);
        return value;
    };
    if ((data[0] != 'I' && data[0] != 'M') || data[0] != data[1] || number(2, 2) != 42) return 1;
    const std::size_t first = number(4, 4);
    if (first > size - 2) return 1;
    const std::size_t count = number(first, 2);
    for (std::size_t i = 0; i < count && first + 2 + 12 * (i + 1) <= size; ++i) {
        const std::size_t entry = first + 2 + 12 * i;
        if (number(entry, 2) != 0x0112) continue;
        const std::uint32_t value = number(entry + 8, 2);
        return value >= 1 && value <= 8 ? int(value) : 1;
    }
    return 1;
}

Bytes read_file(const std::filesystem::path& path) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status)) throw InputError(path.string() + ": no such file");
    if (!std::filesystem::is_regular_file(status))
        throw InputError(path.string() + ": not a regular file");
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    const File file = open_file(path, "rb");
    if (error || !file) throw InputError(path.string() + ": cannot be read");
    Bytes bytes(size);
    if (std::fread(bytes.data(), 1, size, file.get()) != size)
        throw InputError(path.string() + ": cannot be read");
    if (bytes.empty()) throw InputError(path.string() + ": the file is empty; get it again");
    return bytes;
}

void write_file(const std::filesystem::path& path, const void* data, std::size_t size) {
    std::error_code error;
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
    const auto temporary = path.parent_path() / (".topseg-" + std::to_string(getpid()) + ".part");
    if (!error) {
        const File file = open_file(temporary, "wb");
        if (!file || std::fwrite(data, 1, size, file.get()) != size || std::fflush(file.get()))
            error = std::error_code(errno, std::generic_category());
    }
    if (!error) std::filesystem::rename(temporary, path, error);
    if (!error) return;
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw InputError(path.string() + ": cannot be written (" + error.message() + ")");
}

Image decode_image(const Bytes& file, const std::string& name, int channels) {
    if (channels != 1 && channels != 3)
        throw InputError(name + ": this model takes " + std::to_string(channels) +
                         " channels; the program reads images of 1 or 3");
    if (file.size() > 2 && file[0] == 0xFF && file[1] == 0xD8)
        return turned(decode_jpeg(file, name, channels));
    if (file.size() > 8 && std::equal(png_start, png_start + 8, file.begin()))
        return turned(decode_png(file, name, channels));
    throw InputError(name + ": not a JPEG or PNG file; convert it, or use topseg in Python");
}

}  // namespace topseg_cli
