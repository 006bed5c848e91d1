#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <new>
#include <set>

#include "commands.hpp"

namespace topseg_cli {
namespace {

namespace fs = std::filesystem;

struct Job {
    fs::path image;
    fs::path output;  // below the output folder, without suffix
};

bool is_image(const fs::path& path) {
    std::string suffix = path.extension().string();
    std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                   [](unsigned char c) { return char(std::tolower(c)); });
    return suffix == ".jpg" || suffix == ".jpeg" || suffix == ".png";
}

// Files as they are given, and the images of folders with their sub-folders, but for those in the
// output folder: yesterday's masks are not today's images. No output twice, nor over an image.
std::vector<Job> find_jobs(const std::vector<std::string>& words, const fs::path& out,
                           const std::vector<std::string>& kinds) {
    std::vector<Job> jobs;
    for (auto word = words.begin() + 1; word != words.end(); ++word) {
        const fs::path path(*word);
        std::error_code error;
        if (!fs::is_directory(path, error)) {
            jobs.push_back({path, path.stem()});
            continue;
        }
        const std::size_t before = jobs.size();
        auto entry = fs::recursive_directory_iterator(
            path, fs::directory_options::skip_permission_denied, error);
        for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
            std::error_code none;  // there may be no output folder yet
            if (entry->is_directory(none) && fs::equivalent(entry->path(), out, none))
                entry.disable_recursion_pending();
            if (is_image(entry->path()) && entry->is_regular_file(error))
                jobs.push_back(
                    {entry->path(), entry->path().lexically_relative(path).replace_extension()});
        }
        if (error) throw InputError(path.string() + ": cannot be read (" + error.message() + ")");
        if (jobs.size() == before) throw InputError(path.string() + ": no JPEG or PNG files in it");
    }
    if (jobs.empty()) throw InputError("predict: give at least one image; see --help");
    std::sort(jobs.begin(), jobs.end(),
              [](const Job& a, const Job& b) { return a.output < b.output; });
    const auto twice = std::adjacent_find(
        jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return a.output == b.output; });
    if (twice != jobs.end())
        throw InputError(twice->image.string() + " and " + (twice + 1)->image.string() +
                         ": both would become " + twice->output.string() +
                         ".png; predict them into different folders");
    std::set<fs::path> images;
    std::error_code error;
    for (const Job& job : jobs) images.insert(fs::weakly_canonical(job.image, error));
    images.erase(fs::path());  // where a path cannot be resolved
    for (const Job& job : jobs)
        for (const std::string& kind : kinds) {
            const std::string target = (out / job.output).string() + kind;
            if (images.count(fs::weakly_canonical(target, error)))
                throw InputError(target +
                                 ": would overwrite an image that was given; choose another --out");
        }
    return jobs;
}

Image overlay(const topseg::Model& model, const Image& image, const topseg::Mask& mask) {
    Image out{image.height, image.width, 3, Bytes(mask.classes.size() * 3)};
    const int classes = model.info().num_classes;
    std::vector<std::array<std::uint8_t, 3>> colors(static_cast<std::size_t>(classes));
    for (int k = 0; k < classes; ++k) topseg_class(model.get(), k, nullptr, colors[k].data());
    for (std::size_t i = 0; i < mask.classes.size(); ++i)
        for (std::size_t c = 0; c < 3; ++c) {
            const int pixel = image.pixels[image.channels == 1 ? i : 3 * i + c];
            const int sum = pixel + colors[mask.classes[i]][c];
            out.pixels[3 * i + c] = std::uint8_t((sum + (sum >> 1 & 1)) >> 1);  // half to even
        }
    return out;
}

std::string shares_json(const topseg::Model& model, const Job& job, const topseg::Mask& mask) {
    std::vector<double> shares(static_cast<std::size_t>(model.info().num_classes));
    topseg_shares16(model.get(), mask.classes.data(), mask.height, mask.width, shares.data());
    std::string text = "{\"image\": " + quoted(job.image.string()) +
                       ", \"height\": " + std::to_string(mask.height) +
                       ", \"width\": " + std::to_string(mask.width) + ", \"classes\": [";
    const char* between = "";
    for (int k = 0; k < model.info().num_classes; ++k) {
        if (shares[static_cast<std::size_t>(k)] == 0) continue;
        char share[32];
        std::snprintf(share, sizeof share, "%.6f", shares[static_cast<std::size_t>(k)]);
        text += between + ("{\"index\": " + std::to_string(k)) +
                ", \"name\": " + quoted(model.class_name(k)) + ", \"share\": " + share + "}";
        between = ", ";
    }
    return text + "]}\n";
}

void predict_one(const topseg::Model& model, const Job& job, const fs::path& out,
                 const Arguments& arguments) {
    const Image image =
        decode_image(read_file(job.image), job.image.string(), model.info().channels);
    const topseg::Mask mask = model.mask({image.pixels.data(), image.height, image.width, 0});
    const std::string stem = (out / job.output).string();
    const Bytes png = mask_png(model, mask);
    if (arguments.has("--overlay")) {
        const Bytes jpeg = encode_jpeg(overlay(model, image, mask));
        write_file(stem + "_overlay.jpg", jpeg.data(), jpeg.size());
    }
    if (arguments.has("--json")) {
        const std::string json = shares_json(model, job, mask);
        write_file(stem + ".json", json.data(), json.size());
    }
    write_file(stem + ".png", png.data(), png.size());
}

}  // namespace

Bytes mask_png(const topseg::Model& model, const topseg::Mask& mask) {
    const int classes = model.info().num_classes;
    if (classes > 255) return encode_mask(mask.classes.data(), mask.height, mask.width, 16, {});
    std::vector<std::array<std::uint8_t, 3>> palette(static_cast<std::size_t>(classes));
    for (int k = 0; k < classes; ++k) topseg_class(model.get(), k, nullptr, palette[k].data());
    const Bytes narrow(mask.classes.begin(), mask.classes.end());
    return encode_mask(narrow.data(), mask.height, mask.width, 8, palette);
}

int predict(const Arguments& arguments) {
    const fs::path out = arguments.text("--out", "");
    if (out.empty()) throw InputError("predict: give a folder for the masks, such as --out masks");
    const topseg::Model model = arguments.open();
    std::vector<std::string> kinds = {".png"};
    if (arguments.has("--overlay")) kinds.push_back("_overlay.jpg");
    const std::vector<Job> jobs = find_jobs(arguments.words(), out, kinds);
    std::size_t failed = 0;
    for (const Job& job : jobs) {
        try {
            predict_one(model, job, out, arguments);
        } catch (const InputError& error) {
            std::fprintf(stderr, "%s\n", error.what());
            ++failed;
        } catch (const std::exception& error) {  // too large for the memory, or for the network
            const bool memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
            std::fprintf(stderr, "%s: %s\n", job.image.string().c_str(),
                         memory ? "not enough memory" : error.what());
            ++failed;
        }
    }
    const std::size_t written = jobs.size() - failed;
    std::printf("%zu mask%s in %s\n", written, written == 1 ? "" : "s", out.string().c_str());
    return failed ? 3 : 0;
}

}  // namespace topseg_cli
