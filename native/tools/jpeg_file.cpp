// JPEG by libjpeg(-turbo). It reports errors by a jump, which is contained here.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <jpeglib.h>  // after what it needs

#include "codecs.hpp"

namespace topseg_cli {
namespace {

// A block of 64 pixels takes one bit at least, or a fraction of one where it is arithmetic coded.
constexpr std::int64_t pixels_per_byte = 64 * 64;
constexpr int max_scans = 500;  // a progressive JPEG of more only costs time

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

struct JpegErrors {
    jpeg_error_mgr manager;
    std::jmp_buf jump;
    char text[JMSG_LENGTH_MAX];
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

struct JpegDecoder {
    jpeg_decompress_struct codec{};
    JpegErrors errors{};
    jpeg_progress_mgr progress{};

    JpegDecoder() = default;
    JpegDecoder(const JpegDecoder&) = delete;
    JpegDecoder& operator=(const JpegDecoder&) = delete;
    ~JpegDecoder() { jpeg_destroy_decompress(&codec); }  // a codec of zeros is allowed
};

// Between setjmp and the end there is no object with a destructor. What is thrown is bad_alloc.
bool run_jpeg(const Bytes& file, int channels, JpegDecoder& own, Decoded& found, Bytes& line,
              std::string& problem) {
    Image& image = found.image;
    jpeg_decompress_struct& decoder = own.codec;
    decoder.err = jpeg_std_error(&own.errors.manager);
    own.errors.manager.error_exit = jpeg_failed;
    own.errors.manager.output_message = [](j_common_ptr) {};
    if (setjmp(own.errors.jump)) {
        problem = own.errors.text;
        return false;
    }
    jpeg_create_decompress(&decoder);
    own.progress.progress_monitor = count_scans;
    decoder.progress = &own.progress;
    jpeg_mem_src(&decoder, file.data(), static_cast<unsigned long>(file.size()));
    jpeg_save_markers(&decoder, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&decoder, TRUE);
    for (jpeg_saved_marker_ptr marker = decoder.marker_list; marker; marker = marker->next)
        if (marker->data_length > 6 && !std::memcmp(marker->data, "Exif\0\0", 6)) {
            found.orientation = tiff_orientation(marker->data + 6, marker->data_length - 6);
            break;
        }
    const bool cmyk = decoder.num_components == 4;
    decoder.out_color_space = cmyk ? JCS_CMYK : channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    image.height = int(decoder.image_height);
    image.width = int(decoder.image_width);
    image.channels = channels;
    problem = size_problem(image.height, image.width, file, pixels_per_byte);
    if (!problem.empty()) return false;
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
    return true;
}

}  // namespace

Decoded decode_jpeg(const Bytes& file, const std::string& name, int channels) {
    if (!jpeg_is_whole(file))
        throw InputError(name + ": truncated, the end of the image is missing; get the file again");
    Decoded found;
    Bytes line;
    std::string problem;
    JpegDecoder decoder;
    if (!run_jpeg(file, channels, decoder, found, line, problem))
        throw InputError(name + ": not readable as an image (" + problem + ")");
    return found;
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
