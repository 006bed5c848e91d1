// What WebAssembly's host needs beside the C interface: pixels as a canvas has them, and the parts
// around a network that another engine runs.
#include "topseg/pool.hpp"
#include "topseg/resize.hpp"
#include "topseg/tail.hpp"

#define TOPSEG_EXPORT(name) extern "C" __attribute__((export_name(#name)))

// (pixels, 4) RGBA bytes become (pixels, 3) RGB, in place.
TOPSEG_EXPORT(topseg_drop_alpha) void topseg_drop_alpha(std::uint8_t* pixels, std::size_t count) {
    const std::uint8_t* from = pixels;
    for (std::size_t i = 0; i < count; ++i, from += 4, pixels += 3) {
        const std::uint8_t red = from[0], green = from[1], blue = from[2];
        pixels[0] = red;
        pixels[1] = green;
        pixels[2] = blue;
    }
}

// The network's input size by a resize rule (short_side 0 keeps the image's): height, width.
TOPSEG_EXPORT(topseg_fit)
void topseg_fit(int short_side, int max_long_side, int multiple, int up, int height, int width,
                int size[2]) {
    const topseg::ResizeRule rule{short_side, max_long_side, multiple, up != 0};
    const topseg::Size found = topseg::network_size(rule, {height, width});
    size[0] = found.height;
    size[1] = found.width;
}

// (height, width, channels) bytes become (new_height, new_width, channels).
TOPSEG_EXPORT(topseg_resize)
void topseg_resize(const std::uint8_t* image, int height, int width, int channels, int new_height,
                   int new_width, std::uint8_t* out) {
    topseg::resize_image(image, {height, width}, std::ptrdiff_t(width) * channels, channels,
                         {new_height, new_width}, out);
}

// (classes, rows, columns) logits become a mask (height, width), of 8 or of 16 bits.
TOPSEG_EXPORT(topseg_upsample)
void topseg_upsample(const float* logits, int classes, int rows, int columns, int height, int width,
                     std::uint8_t* mask8, std::uint16_t* mask16) {
    const topseg::Logits source{logits, 1, classes, rows, columns};
    const topseg::Path path = topseg::Path::portable;
    if (mask8)
        topseg::upsample_argmax(source, height, width, mask8, nullptr, 1, path);
    else
        topseg::upsample_argmax(source, height, width, mask16, nullptr, 1, path);
}

#ifdef __wasm_atomics__
// How many workers will enter topseg_join(); models that are opened afterwards may use them all.
TOPSEG_EXPORT(topseg_team) void topseg_team(int members) { topseg::team.members = members; }

// A worker's life, on a stack of its own and the same memory; worker is from 1 on.
TOPSEG_EXPORT(topseg_join) void topseg_join(int worker) { topseg::team.join(worker); }
#endif
