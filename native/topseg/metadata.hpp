// What metadata.json says of a model, as far as running it needs: schema 1 and 2.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "topseg/json.hpp"
#include "topseg/resize.hpp"

namespace topseg {

struct Metadata {
    std::string architecture;         // "topformer_tiny"
    int classes = 0;                  // K
    int channels = 0;                 // C
    bool fixed_pool = false;          // PaddleSeg's rule of pooling; the official code's otherwise
    std::vector<float> scale, shift;  // one a channel: value * scale - shift
    ResizeRule resize;
    std::vector<std::string> names;  // of the classes
    std::vector<std::array<std::uint8_t, 3>> palette;
    std::string weights;         // name of the weight file
    std::string weights_sha256;  // empty where it is not listed
    std::string notice;
};

namespace detail {

// Reads members of one mapping; every problem names the file and the key.
class Section {
public:
    Section(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
        if (json.kind != Json::Kind::mapping) fail("expected a mapping");
    }

    [[noreturn]] void fail(const std::string& problem) const {
        raise<BundleError>(where_ + ": " + problem);
    }

    const Json* find(const char* key, Json::Kind kind) const {
        const Json* found = json_.find(key);
        if (!found || found->kind == Json::Kind::null) return nullptr;
        if (found->kind != kind) fail(std::string(key) + ": not of the expected type");
        return found;
    }

    Section section(const char* key) const {
        const Json* found = find(key, Json::Kind::mapping);
        if (!found) fail(std::string(key) + ": missing");
        return {*found, where_ + ": " + key};
    }

    std::string text(const char* key, const std::string& fallback = "") const {
        const Json* found = find(key, Json::Kind::text);
        return found ? found->text : fallback;
    }

    int whole(const char* key, int low, int high, int fallback) const {
        const Json* found = find(key, Json::Kind::number);
        const double value = found ? found->number : fallback;
        if (!(value >= low && value <= high) || value != std::floor(value))
            fail(std::string(key) + ": expected a whole number from " + std::to_string(low) +
                 " to " + std::to_string(high));
        return int(value);
    }

    const std::vector<Json>& list(const char* key, std::size_t count) const {
        static const std::vector<Json> none;
        const Json* found = find(key, Json::Kind::list);
        const auto& items = found ? found->items : none;
        if (items.size() != count)
            fail(std::string(key) + ": got " + std::to_string(items.size()) + " items, expected " +
                 std::to_string(count));
        return items;
    }

private:
    const Json& json_;
    std::string where_;
};

inline double number_of(const Json& json) {
    return json.kind == Json::Kind::number ? json.number : std::nan("");
}

}  // namespace detail

inline Metadata read_metadata(std::string_view text, const std::string& where) {
    using detail::number_of;
    if (text.size() > (std::size_t(16) << 20)) raise<BundleError>(where + ": larger than 16 MiB");
    const Json tree = JsonReader::read(text, where);
    const detail::Section root(tree, where);
    const int version = root.whole("schema_version", 1, 1 << 30, 0);
    if (version > 2)
        root.fail("schema_version " + std::to_string(version) +
                  " is not known here (up to 2); upgrade topseg");
    if (root.text("input_dtype", "uint8") != "uint8") root.fail("input_dtype: expected uint8");

    // The network: schema 1 has "model" with the pooling in it, schema 2 "architecture" and
    // options.
    Metadata found;
    const detail::Section model = root.section(version == 1 ? "model" : "architecture");
    found.architecture = model.text("name");
    found.classes = model.whole("num_classes", 1, 65535, 0);
    found.channels = model.whole("in_channels", 1, 64, 3);
    const std::string pool = (version == 1 ? model : model.section("options")).text("pool");
    if (pool != "adaptive" && pool != "fixed") model.fail("pool: expected adaptive or fixed");
    found.fixed_pool = pool == "fixed";

    // Pixels: (value / 255 - mean) / std, as one multiplication and one subtraction.
    const detail::Section input = root.section("input");
    const auto& means = input.list("mean", std::size_t(found.channels));
    const auto& deviations = input.list("std", std::size_t(found.channels));
    for (std::size_t c = 0; c < means.size(); ++c) {
        const double mean = number_of(means[c]), deviation = number_of(deviations[c]);
        const double scale = 1 / (255 * deviation), shift = mean / deviation;
        if (!(scale > 0 && scale < 1e30) || !(std::abs(shift) < 1e30))
            input.fail("mean, std: expected numbers, std above 0");
        found.scale.push_back(float(scale));
        found.shift.push_back(float(shift));
    }
    if (const Json* rule = root.find("resize", Json::Kind::mapping)) {
        const detail::Section resize(*rule, where + ": resize");
        const Json* side = rule->find("short_side");
        const bool keep = side && side->kind == Json::Kind::null;
        found.resize.short_side = keep ? 0 : resize.whole("short_side", 32, 16384, 512);
        found.resize.max_long_side = resize.whole("max_long_side", 32, 1000000, 2048);
        found.resize.multiple = resize.whole("multiple", 32, 128, 64);
        if (found.resize.multiple % 32) resize.fail("multiple: expected 32, 64 or 128");
        found.resize.up = resize.text("round", "nearest") == "up";
    }

    // Classes.
    for (const Json& name : root.list("classes", std::size_t(found.classes)))
        found.names.push_back(name.text);
    for (const Json& color : root.list("palette", std::size_t(found.classes))) {
        std::array<std::uint8_t, 3> rgb{};
        if (color.items.size() != 3)
            root.fail("palette: expected [red, green, blue] for each class");
        for (std::size_t i = 0; i < 3; ++i) {
            const double value = number_of(color.items[i]);
            if (!(value >= 0 && value <= 255)) root.fail("palette: expected values from 0 to 255");
            rgb[i] = std::uint8_t(value);
        }
        found.palette.push_back(rgb);
    }

    // The weights' file: a plain name, so that nothing outside of the folder is read.
    found.weights = root.text("weights", "weights.safetensors");
    if (found.weights.empty() || found.weights[0] == '.' ||
        found.weights.find_first_of("/\\:") != std::string::npos)
        root.fail("weights: expected the name of a file in the bundle's folder");
    if (const Json* files = root.find("files", Json::Kind::mapping))
        if (const Json* hash = files->find(found.weights)) found.weights_sha256 = hash->text;
    found.notice = root.text("notice");
    return found;
}

}  // namespace topseg
