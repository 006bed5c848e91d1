// A model: a bundle's metadata and its network, ready to run from any number of threads at once.
//
//     const auto model = topseg::Model::open("bundle");
//     model.logits(pixels, 1, height, width, out, threads);
//
// Each call takes memory and threads of its own from what earlier calls have left. A process that
// was forked makes new ones: threads do not survive a fork. It may be forked while no call runs.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#ifdef __unix__
#include <unistd.h>
#endif
#ifndef __wasm__
#include <cstdio>
#endif

#include "topseg/network.hpp"
#include "topseg/sha256.hpp"

namespace topseg {

struct ModelOptions {
    std::string code_path;      // a name of code_paths(); empty: the fastest of this processor
    bool check_hashes = false;  // compare the weights with the SHA-256 in metadata.json
};

class Model {
public:
    static constexpr int stride = 8, multiple = 32;
    static constexpr std::int64_t max_pixels = std::int64_t(1) << 28;  // of an image

#ifndef __wasm__  // where there are no files: bundles come from memory
    // Reads a bundle's folder. Raises BundleError for everything that is wrong with it.
    static std::unique_ptr<Model> open(const std::string& folder,
                                       const ModelOptions& options = {}) {
        const std::string path = folder + "/metadata.json";
        const std::string text = read(path, std::size_t(16) << 20);
        const Metadata metadata = read_metadata(text, path);
        const std::string file = folder + "/" + metadata.weights;
        const std::string weights = read(file, std::size_t(1) << 30);
        return std::make_unique<Model>(metadata, weights.data(), weights.size(), file, options);
    }
#endif

    // The weights may be freed afterwards.
    Model(Metadata metadata, const void* weights, std::size_t size, const std::string& where,
          const ModelOptions& options = {})
        : metadata_(std::move(metadata)) {
        if (options.check_hashes && metadata_.weights_sha256 != sha256(weights, size))
            raise<BundleError>(where +
                               ": its bytes are not those that metadata.json lists "
                               "(SHA-256 differs); get the bundle again");
        const CodePath& path = find_path(options.code_path);
        network_ = path.topformer(metadata_, Weights(weights, size, where));
        path_ = path.name;
    }

    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    // A forked process leaves what it inherited alone: the threads are not here to be joined.
    ~Model() {
        for (auto& lease : kept_)
            if (lease->process != process()) (void)lease.release();
    }

    const Metadata& metadata() const { return metadata_; }
    const char* code_path() const { return path_; }

    // Raises Error for images that logits() does not take.
    static void check_size(int batch, int height, int width) {
        if (batch < 1 || height < multiple || width < multiple || height % multiple ||
            width % multiple || std::int64_t(height) * width > max_pixels)
            raise("images: got " + std::to_string(batch) + " of " + std::to_string(height) + "x" +
                  std::to_string(width) +
                  " (height x width), expected multiples of 32 and at most 2^28 pixels");
    }

    // Runs the network.
    //   pixels: (batch, height, width, C) bytes, or floats of 0 to 255
    //   out:    (batch, K, height / 8, width / 8)
    // Raises Error where check_size() does.
    template <class Pixel>
    void logits(const Pixel* pixels, int batch, int height, int width, float* out, int threads,
                Laps* laps = nullptr) const {
        check_size(batch, height, width);
        auto lease = take(height, width, std::max(1, threads));
        const std::size_t image =
            std::size_t(height) * std::size_t(width) * std::size_t(metadata_.channels);
        const std::size_t found = std::size_t(metadata_.classes) * std::size_t(height / stride) *
                                  std::size_t(width / stride);
        for (int i = 0; i < batch; ++i, pixels += image, out += found) {
            Image one;
            one.height = height;
            one.width = width;
            if constexpr (sizeof(Pixel) == 1)
                one.bytes = pixels;
            else
                one.floats = pixels;
            network_->run(one, out, *lease->memory, *lease->pool, laps);
        }
        give_back(std::move(lease));
    }

private:
    // Memory and threads of one call.
    struct Lease {
        int height, width, threads;
        long process;
        std::unique_ptr<Network::Workspace> memory;
        std::unique_ptr<ThreadPool> pool;
    };

    // How much of it is kept between calls.
    static constexpr std::size_t max_kept = 8, max_kept_bytes = std::size_t(512) << 20;

    static long process() {
#ifdef __unix__
        return getpid();
#else
        return 0;
#endif
    }

#ifndef __wasm__
    static std::string read(const std::string& path, std::size_t limit) {
        // Streams of the standard library would add half a megabyte to a static program.
        const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                                   std::fclose);
        const bool open = file && !std::fseek(file.get(), 0, SEEK_END);
        const long size = open ? std::ftell(file.get()) : -1;
        if (size < 0) raise<BundleError>(path + ": no such file, or it cannot be read");
        if (std::size_t(size) > limit) raise<BundleError>(path + ": too large for a bundle");
        std::string bytes(std::size_t(size), '\0');
        std::rewind(file.get());
        if (std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size())
            raise<BundleError>(path + ": cannot be read");
        return bytes;
    }
#endif

    static const CodePath& find_path(const std::string& name) {
        std::string known;
        for (const CodePath& path : code_paths()) {
            if (!path.supported()) continue;
            if (name.empty() || name == path.name) return path;
            known += (known.empty() ? "" : ", ") + std::string(path.name);
        }
        raise("code path '" + name + "' is not to be had on this processor, known: " + known);
    }

    std::unique_ptr<Lease> take(int height, int width, int threads) const {
        {
            const std::lock_guard lock(mutex_);
            for (std::size_t i = kept_.size(); i-- > 0;) {
                if (kept_[i]->process != process()) {
                    // Of the process that forked this one: its threads are not here to be joined.
                    (void)kept_[i].release();
                    kept_.erase(kept_.begin() + std::ptrdiff_t(i));
                } else if (kept_[i]->height == height && kept_[i]->width == width &&
                           kept_[i]->threads == threads) {
                    auto found = std::move(kept_[i]);
                    kept_.erase(kept_.begin() + std::ptrdiff_t(i));
                    return found;
                }
            }
        }
        auto lease = std::make_unique<Lease>();
        lease->height = height;
        lease->width = width;
        lease->threads = threads;
        lease->process = process();
        lease->pool = std::make_unique<ThreadPool>(threads);
        lease->memory = network_->workspace(height, width, lease->pool->threads());
        return lease;
    }

    void give_back(std::unique_ptr<Lease> lease) const {
        std::vector<std::unique_ptr<Lease>> dropped;  // freed after the lock
        const std::lock_guard lock(mutex_);
        kept_.push_back(std::move(lease));
        std::size_t count = 0, bytes = 0;
        for (auto kept = kept_.rbegin(); kept != kept_.rend(); ++kept, ++count) {
            bytes += (*kept)->memory->bytes();
            if (count == max_kept || bytes > max_kept_bytes) break;
        }
        const auto first = kept_.end() - std::ptrdiff_t(count);
        dropped.assign(std::make_move_iterator(kept_.begin()), std::make_move_iterator(first));
        kept_.erase(kept_.begin(), first);
    }

    Metadata metadata_;
    std::unique_ptr<Network> network_;
    const char* path_ = "";
    mutable Mutex mutex_;
    mutable std::vector<std::unique_ptr<Lease>> kept_;
};

}  // namespace topseg
