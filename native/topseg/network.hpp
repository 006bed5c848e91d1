// A network as the model sees it: code paths make it, callers give it memory and threads.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "topseg/metadata.hpp"
#include "topseg/pool.hpp"
#include "topseg/weights.hpp"

namespace topseg {

// One image (height, width, C) of the network's own size: bytes, or floats of 0 to 255.
struct Image {
    const std::uint8_t* bytes = nullptr;
    const float* floats = nullptr;
    int height = 0, width = 0;
};

// Seconds by stage, for benchmarks.
struct Laps {
    std::vector<std::pair<std::string, double>> stages;
    std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();

    void lap(const std::string& name) {
        const auto now = std::chrono::steady_clock::now();
        stages.emplace_back(name, std::chrono::duration<double>(now - last).count());
        last = now;
    }
};

class Network {
public:
    // Maps and scratch memory of one call at a time, for one size and number of threads.
    struct Workspace {
        virtual ~Workspace() = default;
        virtual std::size_t bytes() const = 0;
    };

    virtual ~Network() = default;
    virtual std::unique_ptr<Workspace> workspace(int height, int width, int threads) const = 0;

    // logits: (K, height / 8, width / 8), written.
    virtual void run(const Image& image, float* logits, Workspace& workspace, ThreadPool& pool,
                     Laps* laps) const = 0;
};

// One way to compute, by the processor's instructions.
struct CodePath {
    const char* name;
    bool (*supported)();
    std::unique_ptr<Network> (*topformer)(const Metadata&, const Weights&);
};

// Every code path of this build, the fastest first.
const std::vector<CodePath>& code_paths();

// Bytes of the second-level cache of a core; 512 KiB where the system does not tell.
std::size_t cache_bytes();

}  // namespace topseg
