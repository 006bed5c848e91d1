// segment BUNDLE IN.ppm OUT.pgm: a mask with topseg.
#include <topseg.hpp>

#include <cstdio>
#include <exception>

#include "../picture.hpp"

int main(int count, char** words) {
    if (count != 4) {
        std::fprintf(stderr, "usage: segment BUNDLE IN.ppm OUT.pgm\n");
        return 2;
    }
    try {
        // Resizing, normalisation and the tail are the bundle's; the mask has the picture's size.
        const topseg::Model model(words[1]);
        const Map<std::uint8_t> picture = read_ppm(words[2]);
        const auto [height, width] = picture.size;
        const topseg::Mask mask = model.mask({picture.values.data(), height, width, 0});

        write_pgm(words[3], {picture.size, 1, {mask.classes.begin(), mask.classes.end()}});
        const int middle = mask.at(height / 2, width / 2);
        std::printf("the pixel in the middle is %s\n", model.class_name(middle).c_str());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
