// A small pool of threads for one call at a time: its workers share the parts of each stage.
//
// Between calls they sleep; within a call they look for the next stage for some ten microseconds
// before they sleep, because a stage takes no longer than waking a thread does. Parts are handed
// out by chance, so a stage's parts must not depend on each other; then the result is the same for
// any number of threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "topseg/cpu.hpp"
#ifdef __wasm_atomics__
#include "topseg/team.hpp"
#else

namespace topseg {

class ThreadPool {
public:
    // threads: how many share the work, the calling one among them; fewer where the system has no
    // more to give.
    explicit ThreadPool(int threads) {
#ifdef TOPSEG_THREADS
        others_ = start_threads(threads - 1, [this](int worker) { serve(worker); });
#else
        (void)threads;
#endif
    }

    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    ~ThreadPool() {
#ifdef TOPSEG_THREADS
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
            ++stage_;
        }
        wake_.notify_all();
        for (std::thread& other : others_) other.join();
#endif
    }

    int threads() const {
#ifdef TOPSEG_THREADS
        return int(others_.size()) + 1;
#else
        return 1;
#endif
    }

    // Calls work(part, worker) for every part in [0, parts), worker in [0, threads()). Throws what
    // the first part to fail threw.
    template <class Work>
    void run(int parts, const Work& work) {
#ifdef TOPSEG_THREADS
        if (!others_.empty() && parts > 1) {
            work_ = std::cref(work);
            parts_.reset(parts);
            busy_.store(int(others_.size()), std::memory_order_relaxed);
            {
                const std::lock_guard lock(mutex_);
                ++stage_;
            }
            wake_.notify_all();
            parts_.take(0, work_);
            while (busy_.load(std::memory_order_acquire)) std::this_thread::yield();
            parts_.finish();
            return;
        }
#endif
        for (int part = 0; part < parts; ++part) work(part, 0);
    }

private:
#ifdef TOPSEG_THREADS
    static constexpr int patience = 60000;  // looks at the next stage before a worker sleeps

    void serve(int worker) {
        for (unsigned seen = 0;; ++seen) {
            for (int look = 0; look < patience && stage_.load(std::memory_order_acquire) == seen;)
                ++look;
            if (stage_.load(std::memory_order_acquire) == seen) {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [&] { return stage_.load() != seen; });
            }
            if (stopping_) return;
            parts_.take(worker, work_);
            busy_.fetch_sub(1, std::memory_order_release);
        }
    }

    std::vector<std::thread> others_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::function<void(int, int)> work_;
    Parts parts_;
    std::atomic<int> busy_{0};
    std::atomic<unsigned> stage_{0};
    bool stopping_ = false;
#endif
};

}  // namespace topseg
#endif
