// What the tail and the lean loss share: the choice of a code path at run time, and threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "topseg/error.hpp"

#if !defined(__wasm__) || defined(_REENTRANT)
#define TOPSEG_THREADS 1
#include <mutex>
#include <thread>
#endif

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define TOPSEG_AVX2 1
#include <immintrin.h>
#endif

// A kernel is written once, in plain loops, and inlined into one entry function a code path; the
// compiler then vectorises it for that path's instructions.
#if defined(__GNUC__) || defined(__clang__)
#define TOPSEG_INLINE __attribute__((always_inline)) inline
#else
#define TOPSEG_INLINE inline
#endif

namespace topseg {

// Portable code uses what the compiler may assume: SSE2 on x86-64, NEON on 64-bit ARM, SIMD of
// WebAssembly under -msimd128.
enum class Path { portable, avx2 };

inline bool supported(Path path) {
    if (path == Path::portable) return true;
#ifdef TOPSEG_AVX2
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

inline Path fastest_path() { return supported(Path::avx2) ? Path::avx2 : Path::portable; }

#ifdef TOPSEG_THREADS
using Mutex = std::mutex;
#else
// Nothing to guard against.
struct Mutex {
    void lock() {}
    void unlock() {}
};
#endif

inline void require(bool condition, const char* message) {
    if (condition) return;
#ifdef __cpp_exceptions
    throw std::invalid_argument(message);
#else
    raise(message);
#endif
}

// Calls work(part, worker) for every part in [0, parts), on several threads where there are any.
// Which worker (in [0, threads)) takes a part is left to chance, so parts must not depend on each
// other.
template <class Work>
void run_parts(int parts, int threads, const Work& work) {
    std::atomic<int> next{0};
    const auto run = [&](int worker) {
        for (int part; (part = next.fetch_add(1, std::memory_order_relaxed)) < parts;)
            work(part, worker);
    };
#ifdef TOPSEG_THREADS
    std::vector<std::thread> others;
    others.reserve(std::size_t(std::max(threads, 1)));
    try {
        for (int worker = 1; worker < std::min(threads, parts); ++worker)
            others.emplace_back(run, worker);
    } catch (const std::system_error&) {
        // The system grants no more threads: those there are do all parts.
    }
    run(0);
    for (std::thread& other : others) other.join();
#else
    (void)threads;
    run(0);
#endif
}

}  // namespace topseg
