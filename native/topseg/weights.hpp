// weights.safetensors: named tensors, and convolutions with their batch norms folded in.
//
// Format: https://github.com/huggingface/safetensors (8 bytes of header length, a JSON header,
// data)
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "topseg/json.hpp"

namespace topseg {

// A convolution for inference: the batch norm after it is in its weights and its bias.
struct Conv {
    int outputs = 0, inputs = 0, kernel = 1;  // inputs a group: 1 where it is depthwise
    std::vector<float> weight;                // (outputs, inputs, kernel, kernel)
    std::vector<float> bias;                  // (outputs)
};

class Weights {
public:
    // Reads the header; `data` must outlive this. Everything that it says is checked here.
    Weights(const void* data, std::size_t size, std::string where)
        : bytes_(static_cast<const std::uint8_t*>(data)), where_(std::move(where)) {
        if (size < 8) fail("shorter than its header");
        std::uint64_t length = 0;
        for (int i = 7; i >= 0; --i) length = length << 8 | bytes_[i];
        if (length > size - 8 || length > (std::uint64_t(64) << 20)) fail("a wrong header length");
        const std::string_view text(reinterpret_cast<const char*>(bytes_) + 8, std::size_t(length));
        const std::size_t room = size - 8 - std::size_t(length);
        bytes_ += 8 + length;
        for (const auto& [name, tensor] : JsonReader::read(text, where_).members)
            if (name != "__metadata__") add(name, tensor, room);
    }

    // A convolution without bias and the batch norm after it: "x.c.weight", "x.bn.weight" ...
    Conv normed(const std::string& conv, const std::string& norm, int outputs, int inputs,
                int kernel) const {
        constexpr double epsilon = 1e-5;
        const std::size_t filter = std::size_t(inputs) * std::size_t(kernel * kernel);
        const auto weight = read(conv + ".weight", {outputs, inputs, kernel, kernel});
        const auto gamma = read(norm + ".weight", {outputs});
        const auto beta = read(norm + ".bias", {outputs});
        const auto mean = read(norm + ".running_mean", {outputs});
        const auto variance = read(norm + ".running_var", {outputs});
        Conv found{outputs, inputs, kernel, std::vector<float>(weight.size()), {}};
        for (std::size_t o = 0; o < std::size_t(outputs); ++o) {
            const double scale = gamma[o] / std::sqrt(variance[o] + epsilon);
            if (!(std::abs(scale) <= 1e9))  // false, too, for a variance below zero
                fail(norm + ": a scale of " + std::to_string(scale) + ", expected at most 1e9");
            for (std::size_t i = o * filter; i < (o + 1) * filter; ++i)
                found.weight[i] = float(weight[i] * scale);
            found.bias.push_back(float(beta[o] - mean[o] * scale));
        }
        return found;
    }

    // A convolution with a bias of its own.
    Conv biased(const std::string& conv, int outputs, int inputs, int kernel) const {
        const auto weight = read(conv + ".weight", {outputs, inputs, kernel, kernel});
        const auto bias = read(conv + ".bias", {outputs});
        return {
            outputs, inputs, kernel, {weight.begin(), weight.end()}, {bias.begin(), bias.end()}};
    }

private:
    struct Tensor {
        std::string type;
        std::vector<int> shape;
        std::size_t begin = 0, count = 0;
    };

    [[noreturn]] void fail(const std::string& problem) const {
        raise<BundleError>(where_ + ": " + problem);
    }

    static std::size_t item_bytes(const std::string& type) {
        return type == "F32" ? 4 : type == "F16" || type == "BF16" ? 2 : 0;
    }

    void add(const std::string& name, const Json& entry, std::size_t room) {
        const Json* type = entry.find("dtype");
        const Json* shape = entry.find("shape");
        const Json* offsets = entry.find("data_offsets");
        if (!type || !shape || !offsets || offsets->items.size() != 2)
            fail(name + ": expected dtype, shape and data_offsets");
        Tensor tensor{type->text, {}, 0, 1};
        for (const Json& side : shape->items) {
            if (!(side.number >= 0 && side.number <= 1 << 24)) fail(name + ": a wrong shape");
            tensor.shape.push_back(int(side.number));
            tensor.count *= std::size_t(side.number);
            if (tensor.count > std::size_t(1) << 31) fail(name + ": a wrong shape");
        }
        const double begin = offsets->items[0].number, end = offsets->items[1].number;
        if (!(begin >= 0 && begin <= end && end <= double(room)))
            fail(name + ": lies outside of the file");
        tensor.begin = std::size_t(begin);
        const std::size_t bytes = item_bytes(tensor.type);
        if (bytes && std::size_t(end) - tensor.begin != tensor.count * bytes)
            fail(name + ": its bytes do not match its shape");
        tensors_[name] = std::move(tensor);
    }

    // Values of a float tensor; the shape must be the one that the network has.
    std::vector<double> read(const std::string& name, const std::vector<int>& shape) const {
        const auto found = tensors_.find(name);
        if (found == tensors_.end()) fail("has no tensor '" + name + "'");
        const Tensor& tensor = found->second;
        if (tensor.shape != shape)
            fail(name + ": got shape " + words(tensor.shape) + ", expected " + words(shape));
        const std::size_t bytes = item_bytes(tensor.type);
        if (!bytes) fail(name + ": got " + tensor.type + " values, expected F32, F16 or BF16");
        std::vector<double> values(tensor.count);
        const std::uint8_t* source = bytes_ + tensor.begin;
        const bool halves = tensor.type == "F16";
        for (double& value : values) {
            value = halves ? half(source) : single(source, bytes);
            if (!std::isfinite(value)) fail(name + ": has a value that is no finite number");
            source += bytes;
        }
        return values;
    }

    // float32, or bfloat16, which is its upper half.
    static double single(const std::uint8_t* source, std::size_t bytes) {
        std::uint32_t bits = 0;
        for (std::size_t i = 0; i < bytes; ++i)
            bits |= std::uint32_t(source[i]) << 8 * (4 - bytes + i);
        float value;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    }

    static double half(const std::uint8_t* source) {
        const int bits = source[0] | source[1] << 8;
        const int exponent = bits >> 10 & 31, fraction = bits & 1023;
        const double size = exponent == 31 ? (fraction ? NAN : INFINITY)
                            : exponent     ? std::ldexp(1024 + fraction, exponent - 25)
                                           : std::ldexp(fraction, -24);
        return bits >> 15 ? -size : size;
    }

    static std::string words(const std::vector<int>& shape) {
        std::string out = "[";
        for (const int side : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(side);
        return out + "]";
    }

    const std::uint8_t* bytes_;
    std::string where_;
    std::map<std::string, Tensor> tensors_;
};

}  // namespace topseg
