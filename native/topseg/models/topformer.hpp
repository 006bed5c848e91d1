// TopFormer: token pyramid transformer for mobile semantic segmentation, for inference.
//
// Read it beside models/topformer of the Python package: the same stages in the same order, with
// batch norms folded into the convolutions. Maps are (height, width, channels); channels are padded
// to whole vectors, and the padding is zero.
//
// Paper: https://arxiv.org/abs/2204.05525
//
// Shapes: C channels, H W pixels of the input, N tokens (one a patch of 64x64 pixels), E width of
// the head, K classes
#pragma once

#include "topseg/models/topformer_parts.hpp"
#include "topseg/network.hpp"
#include "topseg/nn/resample.hpp"

namespace topseg {
namespace TOPSEG_PATH {

class TopFormer : public Network, private TopFormerParts {
public:
    TopFormer(const Metadata& metadata, const Weights& weights)
        : TopFormerParts(metadata, weights) {}

    struct Memory : Workspace {
        std::vector<Map> maps;  // of each stage of the pyramid
        std::vector<int> tiles;
        std::vector<Window> rows[4], columns[4];  // of the tokens, at each level
        int token_rows = 0, token_columns = 0, tokens = 0;
        Map scene, scene_after;  // (N rows, N columns, C1 + C2 + C3 + C4)
        Map projected;           // (N, heads * (16 + 16 + 32))
        Map attended;            // (N, heads * 32)
        Map widened, filtered;   // (N rows, N columns + 2, 2 * width), (N, 2 * width)
        struct Level {
            Map gates;  // (N, gate E and embedding E)
            Axis down, across;
            Map injected;  // (h, w, E); the finest level's is never whole
        };
        Level levels[3];
        Axis middle_down, middle_across, coarse_down, coarse_across;
        struct Worker {
            Scratch scratch;
            Floats stem_rows, gates, middle, coarse, row, mixed, turned, attention;
        };
        std::vector<Worker> workers;

        std::size_t bytes() const override {
            std::size_t sum = 0;
            const auto add = [&](const auto&... floats) { ((sum += floats.bytes()), ...); };
            for (const Map& map : maps) add(map.values);
            add(scene.values, scene_after.values, projected.values, attended.values);
            add(widened.values, filtered.values);
            for (const Level& level : levels) add(level.gates.values, level.injected.values);
            for (const Worker& own : workers) {
                add(own.scratch.ring, own.scratch.filtered, own.scratch.zeros, own.stem_rows);
                add(own.gates, own.middle, own.coarse, own.row, own.mixed, own.turned);
                add(own.attention);
            }
            return sum;
        }
    };

    std::unique_ptr<Workspace> workspace(int height, int width, int threads) const override {
        auto memory = std::make_unique<Memory>();
        Memory& m = *memory;
        m.workers.resize(std::size_t(threads));
        // Pyramid.
        int h = height / 2, w = width / 2;
        for (const InvertedResidual& stage : pyramid_) {
            h /= stage.filter.stride;
            w /= stage.filter.stride;
            m.maps.emplace_back(h, w, stage.narrow.outputs);
            m.tiles.push_back(stage.tile_width(w, cache_bytes()));
            for (auto& worker : m.workers) stage.reserve(worker.scratch, m.tiles.back());
        }
        // Tokens: at most one a patch of 64x64 pixels.
        for (int level = 0; level < 4; ++level) {
            const Map& map = m.maps[last_[level]];
            m.rows[level] = pool_windows(map.height, 16 >> level, fixed_pool_);
            m.columns[level] = pool_windows(map.width, 16 >> level, fixed_pool_);
        }
        m.token_rows = int(m.rows[0].size());
        m.token_columns = int(m.columns[0].size());
        m.tokens = m.token_rows * m.token_columns;
        const int hidden = blocks_[0].widen.outputs;
        m.scene = Map(m.token_rows, m.token_columns, scene_.size);
        m.scene_after = Map(m.token_rows, m.token_columns, scene_.size);
        m.projected = Map(m.tokens, 1, blocks_[0].project.outputs);
        m.attended = Map(m.tokens, 1, variant_.heads * value_width);
        m.widened = Map(m.token_rows + 2, m.token_columns + 2, hidden);
        m.filtered = Map(m.token_rows, m.token_columns, hidden);
        // Injection and head.
        const int embed = padded(variant_.embed);
        for (int i = 0; i < 3; ++i) {
            const Map& map = m.maps[last_[i + 1]];
            auto& level = m.levels[i];
            level.gates = Map(m.tokens, 1, 2 * embed);
            level.down = Axis(m.token_rows, map.height);
            level.across = Axis(m.token_columns, map.width);
            if (i > 0) level.injected = Map(map.height, map.width, embed);
        }
        const Map &fine = m.maps[last_[1]], &middle = m.maps[last_[2]], &coarse = m.maps[last_[3]];
        m.middle_down = Axis(middle.height, fine.height);
        m.middle_across = Axis(middle.width, fine.width);
        m.coarse_down = Axis(coarse.height, fine.height);
        m.coarse_across = Axis(coarse.width, fine.width);
        for (auto& worker : m.workers) {
            worker.stem_rows = Floats(4 * stem_.row_size(width));
            worker.gates = Floats(std::size_t(m.token_columns * 2 * embed));
            worker.middle = Floats(std::size_t(middle.width * embed));
            worker.coarse = Floats(std::size_t(coarse.width * embed));
            worker.row = Floats(std::size_t(fine.width * embed));
            worker.mixed = Floats(std::size_t(fine.width * embed));
            worker.turned = Floats(classify_.memory());
            worker.attention = Floats(attention_memory(m.tokens));
        }
        return memory;
    }

    // (H, W, C) -> (K, H/8, W/8)
    void run(const Image& image, float* logits, Workspace& workspace, ThreadPool& pool,
             Laps* laps) const override {
        auto& m = static_cast<Memory&>(workspace);
        const auto done = [&](const std::string& stage) {
            if (laps) laps->lap(stage);
        };
        if (image.bytes)
            run_stem(image.bytes, image, m, pool);
        else
            run_stem(image.floats, image, m, pool);
        done("stem and layer1");
        for (std::size_t i = 1; i < pyramid_.size(); ++i) {
            run_stage(i, m, pool);
            done("layer" + std::to_string(i + 1));
        }
        pool_tokens(m, pool);
        done("pool");
        for (const Block& block : blocks_) run_block(block, m, pool);
        done("transformer");
        inject(m, pool);
        done("injection");
        run_head(logits, m, pool);
        done("head");
    }

private:
    // Calls work(first, last, worker) for strips of rows, `grain` rows at least to a strip.
    template <class Work>
    static void strips(int rows, int parts, int grain, ThreadPool& pool, const Work& work) {
        parts = std::max(1, std::min(parts, rows / grain));
        pool.run(parts, [&](int part, int worker) {
            work(rows * part / parts, rows * (part + 1) / parts, worker);
        });
    }

    // (H, W, C) -> stem (H/2, W/2, 16) -> (H/2, W/2, C1); the stem's rows are the hidden map.
    template <class Pixel>
    void run_stem(const Pixel* pixels, const Image& image, Memory& m, ThreadPool& pool) const {
        const int height = image.height / 2, width = image.width / 2;
        strips(height, pool.threads(), 4, pool, [&](int first, int last, int worker) {
            auto& own = m.workers[std::size_t(worker)];
            Stem::Rows<Pixel> rows(stem_, pixels, image.height, image.width, own.stem_rows.data());
            const auto hidden = [&](int y, int from, int to, float* row) {
                stem_.run(rows, y, from, to, row);
            };
            pyramid_[0].run(first, last, height, width, hidden, nullptr, m.maps[0], m.tiles[0],
                            own.scratch);
        });
    }

    // (h, w, inputs) -> (h / stride, w / stride, outputs)
    void run_stage(std::size_t number, Memory& m, ThreadPool& pool) const {
        const InvertedResidual& stage = pyramid_[number];
        const Map &in = m.maps[number - 1], &out = m.maps[number];
        strips(out.height, pool.threads(), 2, pool, [&](int first, int last, int worker) {
            const auto hidden = [&](int y, int from, int to, float* row) {
                stage.widen.run<Activation::relu>(to - from, in.at(y, from), in.channels, row,
                                                  stage.widen.outputs);
            };
            stage.run(first, last, in.height, in.width, hidden, &in, out, m.tiles[number],
                      m.workers[std::size_t(worker)].scratch);
        });
    }

    // Four maps -> (N rows, N columns, C1 + C2 + C3 + C4)
    void pool_tokens(Memory& m, ThreadPool& pool) const {
        pool.run(m.token_rows, [&](int row, int) {
            int channel = 0;
            for (std::size_t level = 0; level < 4; ++level) {
                const Map& map = m.maps[last_[level]];
                pool_row(map, m.rows[level][std::size_t(row)], m.columns[level],
                         m.scene.at(row) + channel, scene_.size);
                channel += map.channels;
            }
        });
    }

    // Attention and MLP, each added to what came in: the scene -> the scene.
    void run_block(const Block& block, Memory& m, ThreadPool& pool) const {
        const int heads = variant_.heads, width = m.token_columns, size = scene_.size;
        const int projected = block.project.outputs, values = heads * value_width;
        const auto token_strips = [&](const auto& work) {
            strips(m.token_rows, pool.threads(), 1, pool, work);
        };
        // Queries (heads, 16), keys (heads, 16) and values (heads, 32) of every token.
        token_strips([&](int first, int last, int) {
            block.project.run<Activation::none>((last - first) * width, m.scene.at(first), size,
                                                m.projected.at(first * width), projected);
        });
        pool.run(heads, [&](int head, int worker) {
            const float* query = m.projected.at(0) + head * key_width;
            const float* key = query + heads * key_width;
            const float* value = m.projected.at(0) + 2 * heads * key_width + head * value_width;
            attend(query, key, value, projected, m.tokens, 0, m.tokens,
                   m.attended.at(0) + head * value_width, values,
                   m.workers[std::size_t(worker)].attention.data());
        });
        token_strips([&](int first, int last, int) {
            block.merge.run<Activation::none>((last - first) * width, m.attended.at(first * width),
                                              values, m.scene_after.at(first), size,
                                              m.scene.at(first), size);
            for (int y = first; y < last; ++y)
                block.widen.run<Activation::none>(width, m.scene_after.at(y), size,
                                                  m.widened.at(y + 1, 1), m.widened.channels);
        });
        token_strips([&](int first, int last, int) {
            for (int y = first; y < last; ++y) {
                const float* rows[5] = {m.widened.at(y), m.widened.at(y + 1), m.widened.at(y + 2)};
                block.filter.run<Activation::relu6>(rows, m.filtered.at(y), width);
            }
            block.narrow.run<Activation::none>((last - first) * width, m.filtered.at(first),
                                               m.filtered.channels, m.scene.at(first), size,
                                               m.scene_after.at(first), size);
        });
    }

    // Gates and embeddings on the tokens' grid, and the two coarser maps: (h, w, C) -> (h, w, E).
    void inject(Memory& m, ThreadPool& pool) const {
        const int embed = padded(variant_.embed);
        pool.run(3, [&](int level, int) {
            const Injection& injection = injections_[std::size_t(level)];
            const Map& gates = m.levels[level].gates;
            injection.global.run<Activation::none>(m.tokens, m.scene.at(0) + injection.first,
                                                   scene_.size, gates.at(0), gates.channels);
            // Hard sigmoid before the gate is resized, as it was trained.
            for (int n = 0; n < m.tokens; ++n)
                for (int c = 0; c < embed; c += lanes) {
                    const Vector x = load(gates.at(n) + c) + 3.f;
                    store(gates.at(n) + c, activate<Activation::relu6>(x) * (1.f / 6));
                }
        });
        for (int level = 1; level < 3; ++level) {
            const Map& injected = m.levels[level].injected;
            strips(injected.height, pool.threads(), 1, pool, [&](int first, int last, int worker) {
                for (int y = first; y < last; ++y) {
                    inject_row(level, y, injected.at(y), m, m.workers[std::size_t(worker)],
                               AddNothing{});
                }
            });
        }
    }

    // What is added to the vectors of a pixel of an injected row: nothing, or (at stride 8) the two
    // coarser maps, and then the mixing layer where it is a filter of one value a channel.
    struct AddNothing {
        TOPSEG_KERNEL AddNothing at(int) const { return {}; }
        TOPSEG_KERNEL Vector operator()(int, Vector v) const { return v; }
    };

    struct AddCoarser {
        const TopFormer& network;
        const Memory& m;
        const Memory::Worker& worker;

        // A pixel between two of a coarser row.
        struct Between {
            const float *low, *high;
            Vector weight;

            TOPSEG_KERNEL Between(const Floats& row, const Axis& axis, std::size_t x, int embed)
                : low(row.data() + axis.low[x] * embed),
                  high(row.data() + axis.high[x] * embed),
                  weight(splat(axis.weight[x])) {}

            TOPSEG_KERNEL Vector operator()(int c) const {
                return between(load(low + c), load(high + c), weight);
            }
        };

        struct Pixel {
            Between middle, coarse;
            const float *scale, *shift;  // or null

            TOPSEG_KERNEL Vector operator()(int c, Vector v) const {
                v += middle(c) + coarse(c);
                if (!scale) return v;
                return activate<Activation::relu>(fma(v, load(scale + c), load(shift + c)));
            }
        };

        TOPSEG_KERNEL Pixel at(int x) const {
            const int embed = padded(network.variant_.embed);
            const auto column = std::size_t(x);
            return {{worker.middle, m.middle_across, column, embed},
                    {worker.coarse, m.coarse_across, column, embed},
                    network.fuse_scale_.data(),
                    network.fuse_shift_.data()};
        }
    };

    // One row of a map: local * gate + embedding, and what `add` makes of each vector.
    template <class Add>
    void inject_row(int level, int y, float* out, Memory& m, Memory::Worker& worker,
                    const Add& add) const {
        const auto& grid = m.levels[level];
        const Map& map = m.maps[last_[std::size_t(level) + 1]];
        const int embed = padded(variant_.embed), step = grid.gates.channels;
        injections_[std::size_t(level)].local.template run<Activation::none>(
            map.width, map.at(y), map.channels, out, embed);
        const int row = m.token_columns;
        const auto at = std::size_t(y);
        blend_rows(grid.gates.at(grid.down.low[at] * row), grid.gates.at(grid.down.high[at] * row),
                   grid.down.weight[at], worker.gates.data(), std::ptrdiff_t(row) * step);
        for (int x = 0; x < map.width; ++x, out += embed) {
            const auto column = std::size_t(x);
            const float* low = worker.gates.data() + grid.across.low[column] * step;
            const float* high = worker.gates.data() + grid.across.high[column] * step;
            const Vector weight = splat(grid.across.weight[column]);
            const auto added = add.at(x);
            for (int c = 0; c < embed; c += lanes) {
                const Vector gate = between(load(low + c), load(high + c), weight);
                const Vector embedding =
                    between(load(low + embed + c), load(high + embed + c), weight);
                store(out + c, added(c, fma(load(out + c), gate, embedding)));
            }
        }
    }

    // Sum of the injected maps at stride 8, one mixing layer, one score a class -> (K, h, w)
    void run_head(float* logits, Memory& m, ThreadPool& pool) const {
        const Map &fine = m.maps[last_[1]], &middle = m.levels[1].injected,
                  &coarse = m.levels[2].injected;
        const int embed = padded(variant_.embed);
        const auto plane = std::ptrdiff_t(fine.height) * fine.width;
        strips(fine.height, 4 * pool.threads(), 2, pool, [&](int first, int last, int worker) {
            auto& own = m.workers[std::size_t(worker)];
            for (int y = first; y < last; ++y) {
                const auto at = std::size_t(y);
                blend_rows(middle.at(m.middle_down.low[at]), middle.at(m.middle_down.high[at]),
                           m.middle_down.weight[at], own.middle.data(),
                           std::ptrdiff_t(middle.width) * embed);
                blend_rows(coarse.at(m.coarse_down.low[at]), coarse.at(m.coarse_down.high[at]),
                           m.coarse_down.weight[at], own.coarse.data(),
                           std::ptrdiff_t(coarse.width) * embed);
                const AddCoarser add{*this, m, own};
                inject_row(0, y, own.row.data(), m, own, add);
                const float* mixed = own.row.data();
                if (!variant_.depthwise_head) {
                    fuse_.run<Activation::relu>(fine.width, mixed, embed, own.mixed.data(), embed);
                    mixed = own.mixed.data();
                }
                classify_.run(fine.width, mixed, logits + std::ptrdiff_t(y) * fine.width, plane,
                              own.turned.data());
            }
        });
    }
};

std::unique_ptr<Network> make_topformer(const Metadata& metadata, const Weights& weights) {
    return std::make_unique<TopFormer>(metadata, weights);
}

}  // namespace TOPSEG_PATH
}  // namespace topseg
