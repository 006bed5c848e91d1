// What the tail and the lean loss share: the choice of a code path at run time, and threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <utility>
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

// The parts of one job, handed out to whoever asks next. An exception of one part ends the job and
// waits for the thread that gave it: leaving another thread, it would end the process.
class Parts {
public:
    void reset(int count) {
        count_ = count;
        next_.store(0, std::memory_order_relaxed);
    }

    // Calls work(part, worker) until no part is left.
    template <class Work>
    void take(int worker, const Work& work) noexcept {
#ifdef __cpp_exceptions
        try {
            take_all(worker, work);
        } catch (...) {
            next_.store(count_, std::memory_order_relaxed);
            if (!failed_.exchange(true)) problem_ = std::current_exception();
        }
#else
        take_all(worker, work);
#endif
    }

    // Throws what a part threw, after all threads have returned from take().
    void finish() {
#ifdef __cpp_exceptions
        if (failed_.exchange(false)) std::rethrow_exception(std::exchange(problem_, nullptr));
#endif
    }

private:
    template <class Work>
    void take_all(int worker, const Work& work) {
        for (int part; (part = next_.fetch_add(1, std::memory_order_relaxed)) < count_;)
            work(part, worker);
    }

    int count_ = 0;
    std::atomic<int> next_{0};
#ifdef __cpp_exceptions
    std::atomic<bool> failed_{false};
    std::exception_ptr problem_;
#endif
};

#ifdef TOPSEG_THREADS
// Starts `count` threads, numbered from 1: at most 255, and fewer where the system has no more to
// give.
template <class Work>
std::vector<std::thread> start_threads(int count, const Work& work) {
    std::vector<std::thread> threads;
    count = std::clamp(count, 0, 255);
    threads.reserve(std::size_t(count));
    try {
        for (int number = 1; number <= count; ++number) threads.emplace_back(work, number);
    } catch (const std::exception&) {
        // Those there are do all the work.
    }
    return threads;
}
#endif

// Calls work(part, worker) for every part in [0, parts), on several threads where there are any.
// Which worker (in [0, threads)) takes a part is left to chance, so parts must not depend on each
// other. Throws what the first part to fail threw.
template <class Work>
void run_parts(int parts, int threads, const Work& work) {
    Parts job;
    job.reset(parts);
#ifdef TOPSEG_THREADS
    std::vector<std::thread> others =
        start_threads(std::min(threads, parts) - 1, [&](int worker) { job.take(worker, work); });
    job.take(0, work);
    for (std::thread& other : others) other.join();
#else
    (void)threads;
    job.take(0, work);
#endif
    job.finish();
}

}  // namespace topseg
