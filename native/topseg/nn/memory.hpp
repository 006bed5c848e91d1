// Memory of the kernels: aligned to cache lines, zero at first, with room to read and write whole
// vectors beyond the end.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "topseg/error.hpp"

namespace topseg {

class Floats {
public:
    Floats() = default;

    explicit Floats(std::size_t count) {
        constexpr std::size_t line = 64, beyond = 64 * sizeof(float);
        bytes_ = (count * sizeof(float) + beyond + line - 1) / line * line;
        memory_.reset(static_cast<float*>(std::aligned_alloc(line, bytes_)));
        if (!memory_) {
#ifdef __cpp_exceptions
            throw std::bad_alloc();
#else
            raise("not enough memory");
#endif
        }
        std::memset(memory_.get(), 0, bytes_);
    }

    float* data() const { return memory_.get(); }
    std::size_t bytes() const { return bytes_; }
    float& operator[](std::size_t i) const { return memory_.get()[i]; }

private:
    struct Free {
        void operator()(float* p) const { std::free(p); }
    };
    std::unique_ptr<float, Free> memory_;
    std::size_t bytes_ = 0;
};

// (height, width, channels) floats; `channels` counts the padded ones.
struct Map {
    Map() = default;
    Map(int height, int width, int channels)
        : height(height),
          width(width),
          channels(channels),
          values(std::size_t(height) * std::size_t(width) * std::size_t(channels)) {}

    float* at(int y, int x = 0) const {
        return values.data() +
               (std::size_t(y) * std::size_t(width) + std::size_t(x)) * std::size_t(channels);
    }

    int height = 0, width = 0, channels = 0;
    Floats values;
};

}  // namespace topseg
