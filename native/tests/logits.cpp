// logits BUNDLE CODE_PATH BATCH HEIGHT WIDTH: what the network makes of the images on standard
// input. float32 both ways: (batch, height, width, C) in, (batch, K, height / 8, width / 8) out.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include "topseg/model.hpp"

int main(int count, char** words) {
    if (count != 6) return 2;
    try {
        topseg::ModelOptions options;
        options.code_path = words[2];
        const auto model = topseg::Model::open(words[1], options);
        const int batch = std::atoi(words[3]);
        const int height = std::atoi(words[4]), width = std::atoi(words[5]);
        const std::size_t pixels = std::size_t(batch) * std::size_t(height) * std::size_t(width);
        std::vector<float> images(pixels * std::size_t(model->metadata().channels));
        if (std::fread(images.data(), 4, images.size(), stdin) != images.size()) return 2;
        std::vector<float> logits(pixels / 64 * std::size_t(model->metadata().classes));
        model->logits(images.data(), batch, height, width, logits.data(), 2);
        std::fwrite(logits.data(), 4, logits.size(), stdout);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
