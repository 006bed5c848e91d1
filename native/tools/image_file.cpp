// JPEG by libjpeg(-turbo) and PNG by libpng: the decoders that OpenCV uses in Python, so the pixels
// are the same. Both report errors by a jump or a callback, which is contained here.
#include "image_file.hpp"

#include <jpeglib.h>
#include <png.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>

namespace topseg_cli {
namespace {

constexpr std::int64_t max_pixels = std::int64_t(1) << 30;  // OpenCV's bounds
constexpr std::int64_t max_side = std::int64_t(1) << 20;
constexpr int max_scans = 500;  // a progressive JPEG of more only costs time
constexpr std::uint8_t png_start[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

void check_size(const std::string& name, std::int64_t height, std::int64_t width) {
    if (height < 1 || width < 1 || height > max_side || width > max_side ||
        height * width > max_pixels)
        throw InputError(name + ": got " + std::to_string(height) + "x" + std::to_string(width) +
                         " (height x width), expected at most 2^30 pixels");
}

// Whether a JPEG reaches its end marker: decoders fill a missing rest with grey.
bool jpeg_is_whole(const Bytes& file) {
    std::size_t at = 2;
    while (at + 1 < file.size()) {
        const std::uint8_t marker = file[at + 1];
        const bool restart = marker >= 0xD0 && marker <= 0xD7;
        if (file[at] != 0xFF || marker == 0 || marker == 0xFF || restart) {
            ++at;
            continue;
        }
        if (marker == 0xD9) return true;
        if (at + 3 >= file.size()) return false;
        at += 2 + (std::size_t(file[at + 2]) << 8 | file[at + 3]);
    }
    return false;
}

// The orientation (1 to 8) in a TIFF structure, as EXIF is kept; 1 where there is none.
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

Image turned(Image image, int orientation) {
    if (orientation == 1) return image;
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

struct JpegErrors {
    jpeg_error_mgr manager;
    std::jmp_buf jump;
    char text[JMSG_LENGTH_MAX];
};

struct JpegProgress {
    jpeg_progress_mgr manager;
    JpegErrors* errors;
};

void jpeg_failed(j_common_ptr codec) {
    auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
    errors->manager.format_message(codec, errors->text);
    std::longjmp(errors->jump, 1);
}

void count_scans(j_common_ptr codec) {
    if (!codec->is_decompressor) return;
    auto* decoder = reinterpret_cast<j_decompress_ptr>(codec);
    if (decoder->input_scan_number <= max_scans) return;
    auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
    std::snprintf(errors->text, sizeof errors->text, "more than %d scans", max_scans);
    std::longjmp(errors->jump, 1);
}

// The decoder's part between setjmp and its end holds no object with a destructor.
bool run_jpeg(const Bytes& file, int channels, Image& image, Bytes& line, int& orientation,
              std::string& problem) {
    jpeg_decompress_struct decoder;
    JpegErrors errors;
    JpegProgress progress{};
    decoder.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = jpeg_failed;
    errors.manager.output_message = [](j_common_ptr) {};
    jpeg_create_decompress(&decoder);
    if (setjmp(errors.jump)) {
        problem = errors.text;
        jpeg_destroy_decompress(&decoder);
        return false;
    }
    progress.manager.progress_monitor = count_scans;
    decoder.progress = &progress.manager;
    jpeg_mem_src(&decoder, file.data(), static_cast<unsigned long>(file.size()));
    jpeg_save_markers(&decoder, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&decoder, TRUE);
    for (jpeg_saved_marker_ptr marker = decoder.marker_list; marker; marker = marker->next)
        if (marker->data_length > 6 && !std::memcmp(marker->data, "Exif\0\0", 6)) {
            orientation = tiff_orientation(marker->data + 6, marker->data_length - 6);
            break;
        }
    const bool cmyk = decoder.num_components == 4;
    decoder.out_color_space = cmyk ? JCS_CMYK : channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    image.height = int(decoder.image_height);
    image.width = int(decoder.image_width);
    image.channels = channels;
    if (std::int64_t(image.height) * image.width > max_pixels) {
        problem = "too large";
        jpeg_destroy_decompress(&decoder);
        return false;
    }
    jpeg_start_decompress(&decoder);
    const std::size_t row = std::size_t(image.width) * std::size_t(channels);
    image.pixels.resize(row * std::size_t(image.height));
    line.resize(cmyk ? std::size_t(image.width) * 4 : 0);
    while (decoder.output_scanline < decoder.output_height) {
        std::uint8_t* target = image.pixels.data() + row * decoder.output_scanline;
        JSAMPROW pointer = cmyk ? line.data() : target;
        jpeg_read_scanlines(&decoder, &pointer, 1);
        if (!cmyk) continue;
        for (int x = 0; x < image.width; ++x) {  // inverted CMYK, as Adobe writes it
            const std::uint8_t* ink = &line[std::size_t(x) * 4];
            std::uint8_t rgb[3];
            for (int c = 0; c < 3; ++c)
                rgb[c] = std::uint8_t(ink[3] - ((255 - ink[c]) * ink[3] >> 8));
            if (channels == 3)
                std::copy_n(rgb, 3, target + 3 * x);
            else
                target[x] =
                    std::uint8_t((rgb[0] * 9798 + rgb[1] * 19235 + rgb[2] * 3735 + 16384) >> 15);
        }
    }
    jpeg_finish_decompress(&decoder);
    jpeg_destroy_decompress(&decoder);
    return true;
}

Image decode_jpeg(const Bytes& file, const std::string& name, int channels) {
    if (!jpeg_is_whole(file))
        throw InputError(name + ": truncated, the end of the image is missing; get the file again");
    Image image;
    Bytes line;
    int orientation = 1;
    std::string problem;
    if (!run_jpeg(file, channels, image, line, orientation, problem))
        throw InputError(name + ": not readable as an image (" + problem + ")");
    check_size(name, image.height, image.width);
    return turned(std::move(image), orientation);
}

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
bool run_png(png_structp png, png_infop info, int channels, Image& image,
             std::vector<png_bytep>& rows, int& orientation, std::string& problem) {
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
    if (std::int64_t(image.height) * image.width > max_pixels) {
        problem = "too large";
        return false;
    }
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
        orientation = tiff_orientation(exif, exif_size);
    return true;
}

Image decode_png(const Bytes& file, const std::string& name, int channels) {
    Image image;
    std::vector<png_bytep> rows;
    std::string problem;
    int orientation = 1;
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &problem, png_failed,
                                             [](png_structp, png_const_charp) {});
    png_infop info = png ? png_create_info_struct(png) : nullptr;
    if (!info) throw std::bad_alloc();
    PngInput input{&file, 0};
    png_set_read_fn(png, &input, read_png_bytes);
    bool fine = false;
    try {
        fine = run_png(png, info, channels, image, rows, orientation, problem);
    } catch (...) {
        png_destroy_read_struct(&png, &info, nullptr);
        throw;
    }
    png_destroy_read_struct(&png, &info, nullptr);
    if (!fine) throw InputError(name + ": not readable as an image (" + problem + ")");
    check_size(name, image.height, image.width);
    return turned(std::move(image), orientation);
}

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

File open_file(const std::filesystem::path& path, const char* mode) {
    return {std::fopen(path.string().c_str(), mode), std::fclose};
}

void write_png_bytes(png_structp png, png_bytep data, std::size_t count) {
    auto* out = static_cast<Bytes*>(png_get_io_ptr(png));
    out->insert(out->end(), data, data + count);
}

}  // namespace

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
    {
        const File file = open_file(temporary, "wb");
        if (!file || std::fwrite(data, 1, size, file.get()) != size || std::fflush(file.get()))
            error = std::make_error_code(std::errc::io_error);
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
        return decode_jpeg(file, name, channels);
    if (file.size() > 8 && std::equal(png_start, png_start + 8, file.begin()))
        return decode_png(file, name, channels);
    throw InputError(name + ": not a JPEG or PNG file; convert it, or use topseg in Python");
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

Bytes encode_jpeg(const Image& image, int quality) {
    jpeg_compress_struct encoder;
    JpegErrors errors;
    encoder.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = jpeg_failed;
    unsigned char* data = nullptr;
    unsigned long size = 0;
    jpeg_create_compress(&encoder);
    if (setjmp(errors.jump)) {
        jpeg_destroy_compress(&encoder);
        std::free(data);
        throw InputError(std::string("overlay: cannot be written as JPEG (") + errors.text + ")");
    }
    jpeg_mem_dest(&encoder, &data, &size);
    encoder.image_width = JDIMENSION(image.width);
    encoder.image_height = JDIMENSION(image.height);
    encoder.input_components = 3;
    encoder.in_color_space = JCS_RGB;
    jpeg_set_defaults(&encoder);
    jpeg_set_quality(&encoder, quality, TRUE);
    jpeg_start_compress(&encoder, TRUE);
    while (encoder.next_scanline < encoder.image_height) {
        auto* row = const_cast<JSAMPROW>(
            &image.pixels[std::size_t(encoder.next_scanline) * std::size_t(image.width) * 3]);
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    Bytes out(data, data + size);
    std::free(data);
    return out;
}

}  // namespace topseg_cli
