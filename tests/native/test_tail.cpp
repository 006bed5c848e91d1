// Checks the tail's header on its own: the shared table from standard input, then random shapes
// against every class interpolated, on all code paths. Prints what fails and exits with 1.
//
// Input, a case after the other: K h w, H W, K * h * w logits, H * W classes.
#include "topseg/tail.hpp"

#include <cstdio>
#include <iostream>
#include <random>
#include <string>

namespace {

using topseg::Logits;
using topseg::Path;

int failures = 0;

void expect(bool good, const std::string& what) {
    if (good) return;
    std::printf("failed: %s\n", what.c_str());
    ++failures;
}

std::vector<Path> paths() {
    if (topseg::supported(Path::avx2)) return {Path::portable, Path::avx2};
    return {Path::portable};
}

float clamped(float value) {
    return std::isnan(value) ? -topseg::tail::limit
                             : std::max(-topseg::tail::limit, std::min(value, topseg::tail::limit));
}

// The mask by the definition: all classes at every pixel.
std::vector<std::uint16_t> every_class(const Logits& logits, int height, int width) {
    using namespace topseg::tail;
    std::vector<std::uint16_t> mask;
    const auto place = [](int samples, int pixels, int pixel, int& low, int& high, float& weight) {
        const double scale = float(samples) / float(pixels);
        const float source = std::max(0.0f, float(scale * (pixel + 0.5) - 0.5));
        low = std::min(int(source), samples - 1);
        high = std::min(low + 1, samples - 1);
        weight = std::min(source - float(low), 1.0f);
    };
    for (int image = 0; image < logits.batch; ++image)
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x) {
                int y0, y1, x0, x1, winner = 0;
                float t, s, best = 0;
                place(logits.height, height, y, y0, y1, t);
                place(logits.width, width, x, x0, x1, s);
                for (int k = 0; k < logits.classes; ++k) {
                    const float* plane = logits.data + (std::size_t(image) * logits.classes + k) *
                                                           logits.height * logits.width;
                    const auto column = [&](int x) {
                        const float a = clamped(plane[y0 * logits.width + x]);
                        return interpolate(a, slope(a, clamped(plane[y1 * logits.width + x])), t);
                    };
                    const float left = column(x0);
                    const float value = interpolate(left, slope(left, column(x1)), s);
                    if (k == 0 || value > best) best = value, winner = k;
                }
                mask.push_back(std::uint16_t(winner));
            }
    return mask;
}

template <class Label>
void check(const Logits& logits, int height, int width, const std::vector<std::uint16_t>& expected,
           const std::string& what) {
    for (Path path : paths())
        for (int threads : {1, 3})
            for (bool probable : {false, true}) {
                std::vector<Label> mask(expected.size());
                std::vector<float> probability(probable ? expected.size() : 0);
                topseg::upsample_argmax(logits, height, width, mask.data(),
                                        probable ? probability.data() : nullptr, threads, path);
                expect(std::equal(mask.begin(), mask.end(), expected.begin()), what);
                const float least = 0.999f / float(logits.classes);
                expect(std::all_of(probability.begin(), probability.end(),
                                   [&](float p) { return p >= least && p <= 1.0f; }),
                       what + ": probability");
            }
}

void check_table() {
    int classes, height, width, rows, columns, row = 0;
    for (; std::cin >> classes >> height >> width >> rows >> columns; ++row) {
        std::vector<float> data(std::size_t(classes) * height * width);
        std::vector<std::uint16_t> mask(std::size_t(rows) * columns);
        std::string word;
        for (float& value : data) {
            std::cin >> word;
            value = std::strtof(word.c_str(), nullptr);  // unlike >>, reads nan and inf
        }
        for (auto& value : mask) std::cin >> value;
        const Logits logits{data.data(), 1, classes, height, width};
        check<std::uint16_t>(logits, rows, columns, mask, "table row " + std::to_string(row));
    }
    std::printf("%d rows of the table\n", row);
}

void check_random() {
    std::mt19937 random(0);
    std::normal_distribution<float> normal;
    const auto below = [&](int n) { return 1 + int(random() % unsigned(n)); };
    for (int round = 0; round < 40; ++round) {
        const int batch = below(2), classes = below(round % 9 ? 30 : 300);
        const int height = below(12), width = below(20), rows = below(50), columns = below(70);
        std::vector<float> data(std::size_t(batch) * classes * height * width);
        const float special[] = {NAN, INFINITY, -INFINITY, 3e38f};
        for (float& value : data) {
            value = normal(random);
            if (round % 4 == 1 && random() % 8 == 0) value = special[random() % 4];
            if (round % 4 == 2) value = float(random() % 3);  // ties
            if (round % 4 == 3) value = 1.0f + float(random() % 5) * 0x1p-23f;
        }
        const Logits logits{data.data(), batch, classes, height, width};
        const auto expected = every_class(logits, rows, columns);
        const std::string what = "random round " + std::to_string(round);
        check<std::uint16_t>(logits, rows, columns, expected, what);
        if (classes <= 256) check<std::uint8_t>(logits, rows, columns, expected, what);
    }
}

void check_refusals() {
    const float value = 0;
    std::uint8_t mask = 9;
    const auto refuses = [&](const Logits& logits, int height, int width) {
        try {
            topseg::upsample_argmax(logits, height, width, &mask);
        } catch (const std::invalid_argument&) {
            return true;
        }
        return false;
    };
    expect(refuses({&value, 1, 257, 1, 1}, 1, 1), "257 classes in a byte");
    expect(refuses({&value, 1, 1, 0, 1}, 1, 1), "no rows of logits");
    expect(refuses({&value, 1, 1, 1, 1}, 1, 0), "no columns of pixels");
    expect(mask == 9, "refusals write nothing");
}

}  // namespace

int main() {
    check_table();
    check_random();
    check_refusals();
    if (!failures) std::printf("ok\n");
    return failures != 0;
}
