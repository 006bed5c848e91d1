// Random networks and damaged files: nothing may crash, and every code path gives one answer.
//
//     topseg-fuzz shapes COUNT SEED            random networks, sizes and batches
//     topseg-fuzz files COUNT SEED             mutated metadata and weights, in memory
//     topseg-fuzz images COUNT SEED FILE...    mutated images
//
// Every case follows from the seed and its number; a failure prints both. Build it with sanitizers:
//
//     cmake --preset sanitize && cmake --build --preset sanitize --target topseg-fuzz
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <thread>

#include "mutate.hpp"
#include "network_file.hpp"
#include "tools/image_file.hpp"
#include "topseg/model.hpp"
#include "topseg/tail.hpp"

namespace {

using topseg_fuzz::NetworkFile;
using topseg_fuzz::Random;

// Counts by outcome, for the last line.
std::map<std::string, long> outcomes;

[[noreturn]] void stop(const char* command, long number, const std::string& problem) {
    std::printf("%s: case %ld: %s\n", command, number, problem.c_str());
    std::exit(1);
}

double peak_mebibytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return double(usage.ru_maxrss) / 1024;
}

std::unique_ptr<topseg::Model> open(const NetworkFile& file, const std::string& path) {
    topseg::ModelOptions options;
    options.code_path = path;
    return std::make_unique<topseg::Model>(topseg::read_metadata(file.metadata, "metadata.json"),
                                           file.weights.data(), file.weights.size(),
                                           "weights.safetensors", options);
}

std::vector<std::string> paths() {
    std::vector<std::string> found;
    for (const topseg::CodePath& path : topseg::code_paths())
        if (path.supported()) found.emplace_back(path.name);
    return found;  // the portable one is the last
}

// ---- shapes

// Images of one size; the buffers end where the images end, so that a sanitizer sees more.
struct Images {
    int batch, height, width;
    std::vector<std::uint8_t> bytes;
    std::vector<float> floats;

    Images(Random& random, int channels)
        : batch(random.chance(4) ? random.from(2, 3) : 1),
          height(32 * random.small(1, 12)),
          width(32 * random.small(1, random.chance(10) ? 40 : 12)) {
        const auto pixels = std::size_t(height) * std::size_t(width) * std::size_t(channels);
        for (std::size_t i = 0; i < pixels * std::size_t(batch); ++i)
            bytes.push_back(std::uint8_t(random.from(0, 255)));
        floats.assign(bytes.begin(), bytes.end());
    }

    template <class Pixel>
    std::vector<float> logits(const topseg::Model& model, const std::vector<Pixel>& pixels,
                              int threads) const {
        const auto cells = std::size_t(height / 8) * std::size_t(width / 8);
        std::vector<float> out(std::size_t(batch) * std::size_t(model.metadata().classes) * cells);
        model.logits(pixels.data(), batch, height, width, out.data(), threads);
        return out;
    }
};

// The largest difference in standard deviations of the logits.
double distance(const std::vector<float>& found, const std::vector<float>& expected) {
    double sum = 0, squares = 0, most = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        sum += double(expected[i]);
        squares += double(expected[i]) * double(expected[i]);
        const double apart = std::abs(double(found[i]) - double(expected[i]));
        if (!(apart <= most)) most = apart;  // not a number stays
    }
    const double count = double(expected.size()), mean = sum / count;
    return most / std::sqrt(std::max(1e-20, squares / count - mean * mean));
}

// The largest difference that pixels make which are off by 1e-6 of their value. That is ten times
// what rounding does to them.
double sensitivity(const topseg::Model& model, Images images, const std::vector<float>& logits) {
    double worst = 0;
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
        Random random(seed, 0);
        for (std::size_t i = 0; i < images.floats.size(); ++i)
            images.floats[i] = float(images.bytes[i]) * (1 + 1e-6F * float(random.from(-1, 1)));
        worst = std::max(worst, distance(images.logits(model, images.floats, 1), logits));
    }
    return worst;
}

// Several callers of one model at once, each with a size of its own.
void check_callers(const topseg::Model& model, Random& random, long number) {
    std::vector<Images> images;
    std::vector<std::vector<float>> expected, found(3);
    for (int i = 0; i < 3; ++i) {
        images.emplace_back(random, model.metadata().channels);
        expected.push_back(images.back().logits(model, images.back().bytes, 1));
    }
    std::vector<std::thread> callers;
    for (std::size_t i = 0; i < 3; ++i)
        callers.emplace_back([&, i] {
            for (int round = 0; round < 2; ++round)
                found[i] = images[i].logits(model, images[i].bytes, 1 + int(i));
        });
    for (std::thread& caller : callers) caller.join();
    if (found != expected) stop("shapes", number, "callers at once get other logits");
}

void shapes(long count, std::uint64_t seed) {
    // Of the logits' standard deviation. Most random networks stay below 1e-5; a few enlarge what
    // rounding does by more than a thousand, and are held against their own sensitivity.
    constexpr double bound = 1e-4;
    constexpr long cases_a_network = 5;
    double worst = 0;
    std::vector<std::unique_ptr<topseg::Model>> models;
    std::string network;
    for (long number = 0; number < count; ++number) {
        Random random(seed, number);
        if (number % cases_a_network == 0) {
            const NetworkFile file = topseg_fuzz::random_network(random);
            network = file.description;
            models.clear();
            for (const std::string& path : paths()) models.push_back(open(file, path));
        }
        const topseg::Model& portable = *models.back();
        const Images images(random, portable.metadata().channels);
        const auto expected = images.logits(portable, images.bytes, 1);
        for (const auto& model : models) {
            const auto found = images.logits(*model, images.bytes, random.from(1, 5));
            const double far = distance(found, expected);
            if (!(far <= bound || far <= sensitivity(portable, images, expected)))
                stop("shapes", number,
                     network + ", " + std::to_string(images.height) + "x" +
                         std::to_string(images.width) + ": " + model->code_path() + " is " +
                         std::to_string(far) + " standard deviations from " + portable.code_path());
            worst = std::max(worst, far);
            ++outcomes[model->code_path()];
            if (images.logits(*model, images.floats, random.from(1, 5)) != found)
                stop("shapes", number, "floats, or other threads, give other logits");
        }
        if (number % cases_a_network == 0) check_callers(*models.front(), random, number);
    }
    std::printf("largest difference between code paths: %.2e standard deviations\n", worst);
}

// ---- files

void run_small(const topseg::Model& model) {
    const auto channels = std::size_t(model.metadata().channels);
    const std::vector<std::uint8_t> image(std::size_t(32) * 64 * channels, 100);
    std::vector<float> logits(std::size_t(model.metadata().classes) * 4 * 8);
    model.logits(image.data(), 1, 32, 64, logits.data(), 2);
    std::vector<std::uint16_t> mask(std::size_t(50) * 70);
    topseg::upsample_argmax({logits.data(), 1, model.metadata().classes, 4, 8}, 50, 70,
                            mask.data());
}

void files(long count, std::uint64_t seed) {
    Random start(seed, -1);
    const std::vector<NetworkFile> good = {
        topseg_fuzz::network("topformer_tiny", 3, 3, false, "F16", start),
        topseg_fuzz::network("topformer_tiny", 2, 1, true, "BF16", start),
    };
    for (const NetworkFile& file : good) run_small(*open(file, ""));
    for (long number = 0; number < count; ++number) {
        Random random(seed, number);
        NetworkFile file = good[std::size_t(random.from(0, int(good.size()) - 1))];
        const int kind = random.from(0, 9);
        if (kind < 4)
            topseg_fuzz::mutate_text(file.metadata, random);
        else
            topseg_fuzz::mutate_safetensors(file.weights, random);
        const char* const what = kind < 4 ? "metadata" : "weights";
        try {
            run_small(*open(file, ""));
            ++outcomes[what + std::string(" still good")];
        } catch (const topseg::Error& error) {
            if (!*error.what()) stop("files", number, "an error without words");
            ++outcomes[what + std::string(" refused")];
        } catch (const std::exception& error) {
            stop("files", number, std::string("not a clean error: ") + error.what());
        }
    }
}

// ---- images

void images(long count, std::uint64_t seed, const std::vector<std::string>& names) {
    std::vector<topseg_cli::Bytes> good;
    for (const std::string& name : names) good.push_back(topseg_cli::read_file(name));
    for (long number = 0; number < count; ++number) {
        Random random(seed, number);
        const auto which = std::size_t(random.from(0, int(good.size()) - 1));
        topseg_cli::Bytes file = good[which];
        topseg_fuzz::mutate_image(file, random);
        const int channels = random.chance(3) ? 1 : 3;
        try {
            const auto image = topseg_cli::decode_image(file, names[which], channels);
            if (image.pixels.size() !=
                std::size_t(image.height) * std::size_t(image.width) * std::size_t(channels))
                stop("images", number, "pixels do not match the size");
            ++outcomes["decoded"];
        } catch (const topseg_cli::InputError&) {
            ++outcomes["refused"];
        } catch (const std::exception& error) {
            stop("images", number, std::string("not a clean error: ") + error.what());
        }
    }
}

}  // namespace

int main(int words, char** word) {
    const std::string command = words > 3 ? word[1] : "";
    const long count = words > 3 ? std::atol(word[2]) : 0;
    const std::uint64_t seed = words > 3 ? std::strtoull(word[3], nullptr, 10) : 0;
    if (command == "shapes") {
        shapes(count, seed);
    } else if (command == "files") {
        files(count, seed);
    } else if (command == "images" && words > 4) {
        images(count, seed, {word + 4, word + words});
    } else {
        std::printf("usage: topseg-fuzz shapes|files|images COUNT SEED [IMAGE...]\n");
        return 2;
    }
    for (const auto& [outcome, times] : outcomes) std::printf("%s: %ld\n", outcome.c_str(), times);
    std::printf("%s: %ld cases, no crash, peak memory %.0f MiB\n", command.c_str(), count,
                peak_mebibytes());
}
