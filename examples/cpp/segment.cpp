// segment BUNDLE IN.ppm OUT.pgm: a mask with topseg, from a picture in a format that needs no
// library ("convert photo.jpg photo.ppm" makes one).
#include <topseg.hpp>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Picture {
    int height = 0, width = 0;
    std::vector<std::uint8_t> rgb;
};

static Picture read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    Picture picture;
    int maximum = 0;
    file >> kind >> picture.width >> picture.height >> maximum;
    file.get();  // the one white space before the pixels
    if (!file || kind != "P6" || maximum != 255) throw std::runtime_error(path + ": not a P6 file");
    picture.rgb.resize(std::size_t(picture.height) * std::size_t(picture.width) * 3);
    if (!file.read(reinterpret_cast<char*>(picture.rgb.data()),
                   std::streamsize(picture.rgb.size())))
        throw std::runtime_error(path + ": truncated");
    return picture;
}

int main(int count, char** words) {
    if (count != 4) {
        std::fprintf(stderr, "usage: segment BUNDLE IN.ppm OUT.pgm\n");
        return 2;
    }
    try {
        // Resizing, normalisation and the tail are the bundle's; the mask has the picture's size.
        const topseg::Model model(words[1]);
        const Picture picture = read_ppm(words[2]);
        const topseg::Mask mask =
            model.mask({picture.rgb.data(), picture.height, picture.width, 0});

        std::ofstream out(words[3], std::ios::binary);
        out << "P5\n" << mask.width << ' ' << mask.height << "\n255\n";
        for (const std::uint16_t value : mask.classes) out.put(char(value));

        const int y = mask.height / 2, x = mask.width / 2;
        std::printf("the pixel in the middle is %s\n", model.class_name(mask.at(y, x)).c_str());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
