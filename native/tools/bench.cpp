#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#if defined(__APPLE__)
#include <sys/resource.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <sys/utsname.h>
#endif

#include "commands.hpp"

namespace topseg_cli {
namespace {

constexpr const char* stages[] = {"decode", "resize", "network", "tail", "encode"};
constexpr std::size_t stage_count = 5, warm_up = 3;

using Times = std::vector<double>;  // milliseconds

double quantile(Times times, double share) {
    std::sort(times.begin(), times.end());
    const double at = share * double(times.size() - 1);
    const auto below = std::size_t(at);
    const std::size_t above = std::min(below + 1, times.size() - 1);
    return times[below] + (at - double(below)) * (times[above] - times[below]);
}

std::string timing_json(const Times& times) {
    char text[160];
    std::snprintf(text, sizeof text,
                  "{\"minimum\": %.4f, \"median\": %.4f, \"p90\": %.4f, \"p99\": %.4f}",
                  *std::min_element(times.begin(), times.end()), quantile(times, 0.5),
                  quantile(times, 0.9), quantile(times, 0.99));
    return text;
}

// The first line of a file that a scan's pattern finds something in; empty where there is none.
std::string find_line(const char* path, const char* pattern) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path, "r"), std::fclose);
    char line[256], found[256];
    while (file && std::fgets(line, sizeof line, file.get()))
        if (std::sscanf(line, pattern, found) == 1) return found;
    return "";
}

// Processor (or board, or at least the architecture), cores, system and version.
std::string machine() {
    std::string name = find_line("/proc/cpuinfo", "model name : %255[^\n]");
    if (name.empty()) name = find_line("/sys/firmware/devicetree/base/model", "%255[^\n]");
    std::string system = "unknown system";
#if defined(__unix__) || defined(__APPLE__)
    utsname found{};
    if (uname(&found) == 0) {
        if (name.empty()) name = found.machine;
        system = found.sysname;
    }
#endif
    return name + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores, " + system +
           ", topseg-cli " + topseg_version();
}

long peak_memory() {
#if defined(__APPLE__)
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
#else
    // Not by getrusage: there the peak of the process that started this one counts as well.
    return std::atol(find_line("/proc/self/status", "VmHWM: %255[0-9]").c_str()) * 1024;
#endif
}

}  // namespace

int bench(const Arguments& arguments) {
    if (arguments.words().size() != 2)
        throw InputError("bench: give a bundle's folder and one image");
    const topseg::Model model = arguments.open();
    const std::filesystem::path path = arguments.words()[1];
    const int seconds = arguments.number("--seconds", 5);

    // From the file's bytes to the mask's bytes, as often as the time allows.
    Times times[stage_count], total;
    int sizes[4] = {};
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::seconds(seconds);
    for (std::size_t round = 0; round < 10 + warm_up || Clock::now() < end; ++round) {
        Clock::time_point clock[stage_count + 1] = {Clock::now()};
        const Image image = decode_image(read_file(path), path.string(), model.info().channels);
        clock[1] = Clock::now();
        const topseg_image view{image.pixels.data(), image.height, image.width, 0};
        const auto [height, width] = model.network_size(image.height, image.width);
        const auto input = model.prepare(view);
        clock[2] = Clock::now();
        const topseg::Logits logits = model.logits(input.data(), height, width);
        clock[3] = Clock::now();
        topseg::Mask mask{image.height, image.width, {}};
        mask.classes.resize(std::size_t(image.height) * std::size_t(image.width));
        topseg_finish(model.get(), logits.values.data(), logits.height, logits.width, image.height,
                      image.width, nullptr, mask.classes.data(), nullptr);
        clock[4] = Clock::now();
        const Bytes png = mask_png(model, mask);
        clock[5] = Clock::now();
        if (round < warm_up) continue;
        const auto ms = [&](std::size_t from, std::size_t to) {
            return std::chrono::duration<double, std::milli>(clock[to] - clock[from]).count();
        };
        for (std::size_t i = 0; i < stage_count; ++i) times[i].push_back(ms(i, i + 1));
        total.push_back(ms(0, stage_count));
        const int found[4] = {height, width, image.height, image.width};
        std::copy_n(found, 4, sizes);
    }

    // A table for people, and the JSON of `topseg bench`.
    std::printf("%s %s, network %dx%d, image %dx%d, %zu repeats, medians in ms\n",
                model.info().name, topseg_version(), sizes[0], sizes[1], sizes[2], sizes[3],
                total.size());
    for (std::size_t i = 0; i < stage_count; ++i)
        std::printf("%-14s %8.2f\n", stages[i], quantile(times[i], 0.5));
    std::printf("%-14s %8.2f  (p90 %.2f, memory %.1f MiB)\n", "image to mask", quantile(total, 0.5),
                quantile(total, 0.9), double(peak_memory()) / 1048576);
    const std::string target = arguments.text("--json-file", "");
    if (target.empty()) return 0;
    const int threads = arguments.number("--threads", 1);
    std::string json = "{\"measurements\": [{\"machine\": " + quoted(machine()) +
                       ", \"runtime\": \"topseg-cli\", \"version\": " +
                       quoted(std::string("topseg-cli ") + topseg_version()) + ", \"threads\": " +
                       std::to_string(threads ? threads : int(std::thread::hardware_concurrency()));
    char text[200];
    std::error_code error;
    const auto bytes = std::filesystem::file_size(
        std::filesystem::path(arguments.words()[0]) / "weights.safetensors", error);
    std::snprintf(text, sizeof text,
                  ", \"size\": [%d, %d], \"image_size\": [%d, %d], \"repeats\": %zu, "
                  "\"model_bytes\": %llu, \"memory_bytes\": %ld, \"stages\": {",
                  sizes[0], sizes[1], sizes[2], sizes[3], total.size(),
                  static_cast<unsigned long long>(error ? 0 : bytes), peak_memory());
    json += text;
    for (std::size_t i = 0; i < stage_count; ++i)
        json += std::string(i ? ", " : "") + quoted(stages[i]) + ": " + timing_json(times[i]);
    json += "}, \"total\": " + timing_json(total) + "}]}\n";
    write_file(target, json.data(), json.size());
    return 0;
}

}  // namespace topseg_cli
