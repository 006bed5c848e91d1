// Networks with random weights, as a bundle's two files: what the engine is to read, written from
// the published names of the tensors.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "mutate.hpp"

namespace topseg_fuzz {

struct NetworkFile {
    std::string description, metadata, weights;
};

// weights.safetensors: a header of names, types, shapes and places, and then the values.
class TensorWriter {
public:
    TensorWriter(std::string type, Random& random) : type_(std::move(type)), random_(random) {}

    void add(const std::string& name, const std::vector<int>& shape, float low, float high) {
        std::string sides;
        std::size_t count = 1;
        for (const int side : shape) {
            sides += (sides.empty() ? "" : ",") + std::to_string(side);
            count *= std::size_t(side);
        }
        const std::size_t begin = data_.size();
        for (std::size_t i = 0; i < count; ++i) append(low + (high - low) * random_.unit());
        header_ += (header_.empty() ? "{\"" : ",\"") + name + "\":{\"dtype\":\"" + type_ +
                   "\",\"shape\":[" + sides + "],\"data_offsets\":[" + std::to_string(begin) + "," +
                   std::to_string(data_.size()) + "]}";
    }

    // A convolution and the batch norm after it; its outputs have about the variance of its inputs.
    void normed(const std::string& conv, const std::string& norm, int outputs, int inputs,
                int kernel, float gain = 1.4f) {
        weight(conv, outputs, inputs, kernel, gain);
        add(norm + ".weight", {outputs}, 0.7f, 1.3f);
        add(norm + ".bias", {outputs}, -0.3f, 0.3f);
        add(norm + ".running_mean", {outputs}, -0.2f, 0.2f);
        add(norm + ".running_var", {outputs}, 0.7f, 1.3f);
    }

    void biased(const std::string& conv, int outputs, int inputs, int kernel) {
        weight(conv, outputs, inputs, kernel, 1.4f);
        add(conv + ".bias", {outputs}, -0.3f, 0.3f);
    }

    std::string file() const {
        const std::string header = header_ + "}";
        std::string out;
        for (int i = 0; i < 8; ++i) out += char(std::uint64_t(header.size()) >> 8 * i & 255);
        return out + header + data_;
    }

private:
    void weight(const std::string& conv, int outputs, int inputs, int kernel, float gain) {
        const float bound = gain * std::sqrt(3.f / float(inputs * kernel * kernel));
        add(conv + ".weight", {outputs, inputs, kernel, kernel}, -bound, bound);
    }

    // Half precision by cutting digits off: the values are random anyway.
    void append(float value) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        if (type_ == "F16") {
            const int exponent = int(bits >> 23 & 255) - 112;
            const std::uint32_t sign = bits >> 16 & 0x8000;
            bits =
                exponent <= 0 ? sign : sign | std::uint32_t(exponent) << 10 | (bits >> 13 & 1023);
        } else if (type_ == "BF16") {
            bits >>= 16;
        }
        for (std::size_t i = 0; i < (type_ == "F32" ? 4u : 2u); ++i)
            data_ += char(bits >> 8 * i & 255);
    }

    std::string type_, header_, data_;
    Random& random_;
};

// The tensors of one of the three sizes, by the names that they are published under.
inline std::string random_weights(const std::string& name, int classes, int channels,
                                  const std::string& type, Random& random) {
    const bool base = name == "topformer_base", tiny = name == "topformer_tiny";
    const int heads = base ? 8 : tiny ? 4 : 6, embed = 32 * heads;
    std::vector<int> widths = base   ? std::vector<int>{16, 32, 32, 64, 64, 128, 128, 160, 160, 160}
                              : tiny ? std::vector<int>{16, 16, 16, 32, 32, 64, 64, 96, 96}
                                     : std::vector<int>{16, 24, 24, 48, 48, 96, 96, 128, 128, 128};
    const int kernels[] = {3, 3, 3, 5, 5, 3, 3, 5, 5, 3}, expand[] = {1, 4, 3, 3, 3, 3, 3, 6, 6, 6};
    TensorWriter out(type, random);
    const std::string pyramid = "backbone.tpm.";
    out.normed(pyramid + "stem.0.c", pyramid + "stem.0.bn", widths[0], channels, 3);
    int inputs = widths[0];
    for (std::size_t i = 0; i < widths.size(); ++i) {
        const std::string layer = pyramid + "layer" + std::to_string(i + 1) + ".conv.";
        const int hidden = inputs * expand[i];
        int part = 0;
        const auto conv = [&](int outputs, int depth, int kernel) {
            const std::string at = layer + std::to_string(part);
            out.normed(at + ".c", at + ".bn", outputs, depth, kernel);
            part += 2;
        };
        if (expand[i] > 1) conv(hidden, inputs, 1);
        conv(hidden, 1, kernels[i]);
        conv(widths[i], hidden, 1);
        inputs = widths[i];
    }
    const int levels[] = {widths[2], widths[4], widths[6], widths.back()};
    const int scene = levels[0] + levels[1] + levels[2] + levels[3];
    for (int i = 0; i < 4; ++i) {
        const std::string block = "backbone.trans.transformer_blocks." + std::to_string(i) + ".";
        const auto conv = [&](const std::string& part, int outputs, int depth, float gain) {
            out.normed(block + part + ".c", block + part + ".bn", outputs, depth, 1, gain);
        };
        // Scores are not scaled: narrow queries and keys keep them in the range of a trained one.
        conv("attn.to_q", heads * 16, scene, 0.5f);
        conv("attn.to_k", heads * 16, scene, 0.5f);
        conv("attn.to_v", heads * 32, scene, 1.f);
        conv("attn.proj.1", scene, heads * 32, 1.f);
        conv("mlp.fc1", 2 * scene, scene, 1.f);
        out.biased(block + "mlp.dwconv", 2 * scene, 1, 3);
        conv("mlp.fc2", scene, 2 * scene, 1.f);
    }
    for (int i = 1; i < 4; ++i) {
        const std::string injection = "backbone.SIM." + std::to_string(i) + ".";
        for (const char* part : {"local_embedding", "global_embedding", "global_act"})
            out.normed(injection + part + ".conv", injection + part + ".bn", embed, levels[i], 1);
    }
    const std::string fuse = "decode_head.linear_fuse.";
    out.normed(fuse + "conv", fuse + "bn", embed, tiny ? 1 : embed, 1);
    out.biased("decode_head.conv_seg", classes, embed, 1);
    return out.file();
}

inline NetworkFile network(const std::string& name, int classes, int channels, bool fixed_pool,
                           const std::string& type, Random& random) {
    std::string names, palette, ones;
    for (int k = 0; k < classes; ++k) {
        names += (k ? ", \"class " : "\"class ") + std::to_string(k) + "\"";
        palette += (k ? ", [" : "[") + std::to_string(k % 256) + ", 0, 255]";
    }
    for (int c = 0; c < channels; ++c) ones += c ? ", 0.4" : "0.4";
    const std::string pool = fixed_pool ? "fixed" : "adaptive";
    NetworkFile out;
    out.description = name + ", " + std::to_string(classes) + " classes, " +
                      std::to_string(channels) + " channels, " + pool + ", " + type;
    out.metadata = "{\"schema_version\": 2, \"architecture\": {\"name\": \"" + name +
                   "\", \"num_classes\": " + std::to_string(classes) +
                   ", \"in_channels\": " + std::to_string(channels) +
                   ", \"options\": {\"pool\": \"" + pool + "\"}}, \"classes\": [" + names +
                   "], \"palette\": [" + palette + "], \"input\": {\"mean\": [" + ones +
                   "], \"std\": [" + ones +
                   "]}, \"resize\": {\"short_side\": 512, \"max_long_side\": 2048, "
                   "\"multiple\": 64, \"round\": \"nearest\"}, \"weights\": "
                   "\"weights.safetensors\", \"notice\": \"n\\u00fcr \\ud83d\\ude00\"}";
    out.weights = random_weights(name, classes, channels, type, random);
    return out;
}

inline NetworkFile random_network(Random& random) {
    const char* const names[] = {"topformer_tiny", "topformer_small", "topformer_base"};
    const char* const types[] = {"F32", "F16", "BF16"};
    const int classes = random.chance(12) ? random.from(256, 1000) : random.small(1, 160);
    return network(names[random.from(0, 2)], classes, random.small(1, 9), random.chance(2),
                   types[random.from(0, 2)], random);
}

}  // namespace topseg_fuzz
