// PNG by libpng. It reports errors by a jump, which is contained here.
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <new>

#include "codecs.hpp"

namespace topseg_cli {
namespace {

constexpr std::int64_t pixels_per_byte = 1032 * 8;  // deflate's limit, at one bit per pixel

struct PngInput {
    const Bytes* file;
    std::size_t at;
};

void read_png_bytes(png_structp png, png_bytep out, std::size_t count) {
    auto* input = static_cast<PngInput*>(png_get_io_ptr(png));
    if (count > input->file->size() - input->at) png_error(png, "the end of the file is missing");
    std::memcpy(out, input->file->data() + input->at, count);
    input->at += count;
}

void png_failed(png_structp png, png_const_charp text) {
    *static_cast<std::string*>(png_get_error_ptr(png)) = text;
    png_longjmp(png, 1);
}

// The decoder's part between setjmp and its end holds no object with a destructor.
bool run_png(png_structp png, png_infop info, int channels, Decoded& found,
             std::vector<png_bytep>& rows, std::string& problem) {
    Image& image = found.image;
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_user_limits(png, png_uint_32(max_side), png_uint_32(max_side));
    png_set_chunk_cache_max(png, 128);
    png_set_chunk_malloc_max(png, 8 << 20);
    png_read_info(png, info);
    if (png_get_bit_depth(png, info) == 16) {
        problem = "got 16-bit values, expected 8-bit; convert the image, or use topseg in Python";
        return false;
    }
    image.height = int(png_get_image_height(png, info));
    image.width = int(png_get_image_width(png, info));
    image.channels = channels;
    const auto& file = *static_cast<const PngInput*>(png_get_io_ptr(png))->file;
    problem = size_problem(image.height, image.width, file, pixels_per_byte);
    if (!problem.empty()) return false;
    const bool grey = !(png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR);
    png_set_expand(png);
    png_set_strip_alpha(png);
    if (grey && channels == 3) png_set_gray_to_rgb(png);
    if (!grey && channels == 1) png_set_rgb_to_gray_fixed(png, PNG_ERROR_ACTION_NONE, 29900, 58700);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    const std::size_t row = std::size_t(image.width) * std::size_t(channels);
    if (png_get_rowbytes(png, info) != row) {
        problem = "an unexpected kind of PNG";
        return false;
    }
    image.pixels.resize(row * std::size_t(image.height));
    rows.resize(std::size_t(image.height));
    for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = image.pixels.data() + y * row;
    png_read_image(png, rows.data());
    png_read_end(png, info);
    png_bytep exif = nullptr;
    png_uint_32 exif_size = 0;
    if (png_get_eXIf_1(png, info, &exif_size, &exif))
        found.orientation = tiff_orientation(exif, exif_size);
    return true;
}

void write_png_bytes(png_structp png, png_bytep data, std::size_t count) {
    auto* out = static_cast<Bytes*>(png_get_io_ptr(png));
    out->insert(out->end(), data, data + count);
}

}  // namespace

Decoded decode_png(const Bytes& file, const std::string& name, int channels) {
    Decoded found;
    std::vector<png_bytep> rows;
    std::string problem;
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &problem, png_failed,
                                             [](png_structp, png_const_charp) {});
    png_infop info = png ? png_create_info_struct(png) : nullptr;
    if (!info) throw std::bad_alloc();
    PngInput input{&file, 0};
    png_set_read_fn(png, &input, read_png_bytes);
    bool fine = false;
    try {
        fine = run_png(png, info, channels, found, rows, problem);
    } catch (...) {
        png_destroy_read_struct(&png, &info, nullptr);
        throw;
    }
    png_destroy_read_struct(&png, &info, nullptr);
    if (!fine) throw InputError(name + ": not readable as an image (" + problem + ")");
    return found;
}

Bytes encode_mask(const void* mask, int height, int width, int bits,
                  const std::vector<std::array<std::uint8_t, 3>>& palette) {
    Bytes out;
    std::vector<png_color> colors(256, png_color{0, 0, 0});
    for (std::size_t i = 0; i < std::min<std::size_t>(palette.size(), 256); ++i)
        colors[i] = {palette[i][0], palette[i][1], palette[i][2]};
    const std::size_t row = std::size_t(width) * std::size_t(bits / 8);
    std::vector<png_bytep> rows(static_cast<std::size_t>(height));
    auto* bytes = static_cast<png_bytep>(const_cast<void*>(mask));  // libpng only reads it
    for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = bytes + y * row;
    std::string problem;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &problem, png_failed, nullptr);
    png_infop info = png ? png_create_info_struct(png) : nullptr;
    if (!info) throw std::bad_alloc();
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        throw InputError("mask: cannot be written as PNG");
    }
    png_set_write_fn(png, &out, write_png_bytes, nullptr);
    // Masks consist of runs: zlib's fastest choice is also nearly the smallest.
    png_set_compression_level(png, 1);
    png_set_compression_strategy(png, Z_RLE);
    png_set_filter(png, 0, PNG_FILTER_NONE);
    png_set_IHDR(png, info, png_uint_32(width), png_uint_32(height), bits,
                 bits == 16 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_PALETTE, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (bits == 8) png_set_PLTE(png, info, colors.data(), 256);
    png_write_info(png, info);
    if (bits == 16) png_set_swap(png);  // PNG is big-endian
    png_write_image(png, rows.data());
    png_write_end(png, nullptr);
    png_destroy_write_struct(&png, &info);
    return out;
}

}  // namespace topseg_cli
