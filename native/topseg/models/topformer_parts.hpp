// TopFormer's parts: its three sizes, and the weights of each part, packed for the kernels.
//
// The names of the tensors are the published ones (see models/topformer of the Python package).
#pragma once

#include <array>
#include <string>
#include <vector>

#include "topseg/metadata.hpp"
#include "topseg/nn/attention.hpp"
#include "topseg/nn/planes.hpp"
#include "topseg/nn/residual.hpp"
#include "topseg/nn/stem.hpp"
#include "topseg/weights.hpp"

namespace topseg {
namespace TOPSEG_PATH {

// One inverted residual of the token pyramid.
struct Stage {
    int kernel, expand, stride;
};
constexpr Stage stages[] = {
    {3, 1, 1}, {3, 4, 2},             // to stride 4
    {3, 3, 1}, {5, 3, 2},             // to stride 8
    {5, 3, 1}, {3, 3, 2},             // to stride 16
    {3, 3, 1}, {5, 6, 2}, {5, 6, 1},  // stride 32
    {3, 6, 1},
};

struct Variant {
    const char* name;
    std::vector<int> channels;  // width of each stage
    int heads, embed;
    bool depthwise_head;
};

inline const Variant& variant_of(const std::string& name) {
    static const Variant variants[] = {
        {"topformer_base", {16, 32, 32, 64, 64, 128, 128, 160, 160, 160}, 8, 256, false},
        {"topformer_small", {16, 24, 24, 48, 48, 96, 96, 128, 128, 128}, 6, 192, false},
        {"topformer_tiny", {16, 16, 16, 32, 32, 64, 64, 96, 96}, 4, 128, true},
    };
    for (const Variant& variant : variants)
        if (variant.name == name) return variant;
    raise<BundleError>(
        "architecture '" + name +
        "' is not known here, known: topformer_base, topformer_small, topformer_tiny");
}

class TopFormerParts {
protected:
    struct Block {
        Pointwise project;  // to queries, keys and values of all heads
        Pointwise merge;
        Pointwise widen, narrow;
        Depthwise filter;
    };

    struct Injection {
        Pointwise local;
        Pointwise global;  // to gates and embeddings, from one level's part of the scene
        int first = 0;     // of that part
    };

    TopFormerParts(const Metadata& metadata, const Weights& weights)
        : variant_(variant_of(metadata.architecture)),
          classes_(metadata.classes),
          fixed_pool_(metadata.fixed_pool) {
        read_pyramid(metadata, weights);
        read_transformer(weights);
        read_injection(weights);
        read_head(weights);
    }

    const Variant& variant_;
    int classes_;
    bool fixed_pool_;
    Stem stem_;
    std::vector<InvertedResidual> pyramid_;
    std::array<std::size_t, 4> last_{};  // stages whose maps are the pyramid's, strides 4 to 32
    Layout scene_;                       // of the tokens' channels
    std::vector<Block> blocks_;
    Injection injections_[3];
    Floats fuse_scale_, fuse_shift_;  // the mixing layer of Tiny, a filter of one value a channel
    Pointwise fuse_;
    ToPlanes classify_;

private:
    void read_pyramid(const Metadata& metadata, const Weights& weights) {
        const std::string name = "backbone.tpm.";
        const auto& channels = variant_.channels;
        stem_ = Stem(weights.normed(name + "stem.0.c", name + "stem.0.bn", channels[0],
                                    metadata.channels, 3),
                     metadata.scale, metadata.shift);
        int inputs = channels[0];
        for (std::size_t i = 0; i < channels.size(); ++i) {
            const Stage& stage = stages[i];
            const int hidden = inputs * stage.expand, outputs = channels[i];
            const std::string layer = name + "layer" + std::to_string(i + 1) + ".conv.";
            int part = 0;  // its place in the Sequential: convolution and norm, ReLU, ...
            const auto conv = [&](int out, int in, int kernel) {
                const std::string at = layer + std::to_string(part);
                part += 2;
                return weights.normed(at + ".c", at + ".bn", out, in, kernel);
            };
            InvertedResidual block;
            if (stage.expand > 1)
                block.widen = Pointwise(conv(hidden, inputs, 1), Layout{inputs}, Layout{hidden});
            block.filter = Depthwise(conv(hidden, 1, stage.kernel), stage.stride);
            block.narrow = Pointwise(conv(outputs, hidden, 1), Layout{hidden}, Layout{outputs});
            block.residual = stage.stride == 1 && inputs == outputs;
            pyramid_.push_back(std::move(block));
            inputs = outputs;
        }
        last_ = {2, 4, 6, channels.size() - 1};
        std::vector<int> groups;
        for (const std::size_t last : last_) groups.push_back(channels[last]);
        scene_ = Layout(groups);
    }

    // Several convolutions of the same inputs as one.
    static Conv joined(const std::vector<Conv>& convs) {
        Conv all = convs[0];
        for (std::size_t i = 1; i < convs.size(); ++i) {
            all.outputs += convs[i].outputs;
            all.weight.insert(all.weight.end(), convs[i].weight.begin(), convs[i].weight.end());
            all.bias.insert(all.bias.end(), convs[i].bias.begin(), convs[i].bias.end());
        }
        return all;
    }

    void read_transformer(const Weights& weights) {
        const int width = int(scene_.place.size()), heads = variant_.heads;
        const int keys = heads * key_width, values = heads * value_width;
        for (int i = 0; i < 4; ++i) {
            const std::string name = "backbone.trans.transformer_blocks." + std::to_string(i) + ".";
            const auto conv = [&](const std::string& part, int out, int in) {
                return weights.normed(name + part + ".c", name + part + ".bn", out, in, 1);
            };
            Block block;
            block.project =
                Pointwise(joined({conv("attn.to_q", keys, width), conv("attn.to_k", keys, width),
                                  conv("attn.to_v", values, width)}),
                          scene_, Layout{2 * keys + values});
            block.merge = Pointwise(conv("attn.proj.1", width, values), Layout{values}, scene_);
            const Layout hidden{2 * width};
            block.widen = Pointwise(conv("mlp.fc1", 2 * width, width), scene_, hidden);
            block.filter = Depthwise(weights.biased(name + "mlp.dwconv", 2 * width, 1, 3), 1);
            block.narrow = Pointwise(conv("mlp.fc2", width, 2 * width), hidden, scene_);
            blocks_.push_back(std::move(block));
        }
    }

    void read_injection(const Weights& weights) {
        const int embed = variant_.embed;
        int first = padded(variant_.channels[last_[0]]);
        for (std::size_t i = 0; i < 3; ++i) {
            const int inputs = variant_.channels[last_[i + 1]];
            const std::string name = "backbone.SIM." + std::to_string(i + 1) + ".";
            const auto conv = [&](const std::string& part) {
                return weights.normed(name + part + ".conv", name + part + ".bn", embed, inputs, 1);
            };
            injections_[i].local =
                Pointwise(conv("local_embedding"), Layout{inputs}, Layout{embed});
            injections_[i].global =
                Pointwise(joined({conv("global_act"), conv("global_embedding")}), Layout{inputs},
                          Layout{embed, embed});
            injections_[i].first = first;
            first += padded(inputs);
        }
    }

    void read_head(const Weights& weights) {
        const int embed = variant_.embed;
        const std::string name = "decode_head.linear_fuse.";
        const Layout layout{embed};
        const Conv fuse = weights.normed(name + "conv", name + "bn", embed,
                                         variant_.depthwise_head ? 1 : embed, 1);
        if (variant_.depthwise_head) {
            fuse_scale_ = Floats(std::size_t(layout.size));
            fuse_shift_ = Floats(std::size_t(layout.size));
            std::copy(fuse.weight.begin(), fuse.weight.end(), fuse_scale_.data());
            std::copy(fuse.bias.begin(), fuse.bias.end(), fuse_shift_.data());
        } else {
            fuse_ = Pointwise(fuse, layout, layout);
        }
        classify_ = ToPlanes(weights.biased("decode_head.conv_seg", classes_, embed, 1), layout);
    }
};

}  // namespace TOPSEG_PATH
}  // namespace topseg
