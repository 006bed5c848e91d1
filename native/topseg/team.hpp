// Threads where there is no system to ask for them: a browser's workers, which enter join() with
// the same memory and stay there for good.
#pragma once

#include <atomic>

namespace topseg {

class Team {
public:
    // How many workers will enter join().
    int members = 0;

    // Calls work(part, worker) for every part in [0, parts), on the caller and all members.
    template <class Work>
    void run(int parts, const Work& work) {
        work_ = &work;
        call_ = [](const void* any, int part, int worker) {
            (*static_cast<const Work*>(any))(part, worker);
        };
        parts_ = parts;
        next_.store(0, std::memory_order_relaxed);
        busy_.store(members, std::memory_order_relaxed);
        stage_.fetch_add(1, std::memory_order_release);
        __builtin_wasm_memory_atomic_notify(reinterpret_cast<int*>(&stage_), members);
        take_parts(0);
        while (busy_.load(std::memory_order_acquire)) {  // a browser's worker may wait actively
        }
    }

    // A member's life; worker is from 1 on.
    [[noreturn]] void join(int worker) {
        for (int seen = 0;; ++seen) {
            for (int look = 0; look < patience && stage_.load(std::memory_order_acquire) == seen;)
                ++look;
            while (stage_.load(std::memory_order_acquire) == seen)
                __builtin_wasm_memory_atomic_wait32(reinterpret_cast<int*>(&stage_), seen, -1);
            take_parts(worker);
            busy_.fetch_sub(1, std::memory_order_release);
        }
    }

private:
    static constexpr int patience = 20000;  // looks at the next stage before a member sleeps

    void take_parts(int worker) {
        for (int part; (part = next_.fetch_add(1, std::memory_order_relaxed)) < parts_;)
            call_(work_, part, worker);
    }

    const void* work_ = nullptr;
    void (*call_)(const void*, int, int) = nullptr;
    int parts_ = 0;
    std::atomic<int> next_{0}, busy_{0}, stage_{0};
};

// The only one: all models of a module share it, one call at a time.
inline Team team;

// The same interface as where there are threads of a system (pool.hpp).
class ThreadPool {
public:
    explicit ThreadPool(int threads) : threads_(threads > 1 ? team.members + 1 : 1) {}
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int threads() const { return threads_; }

    template <class Work>
    void run(int parts, const Work& work) {
        if (threads_ > 1 && parts > 1) return team.run(parts, work);
        for (int part = 0; part < parts; ++part) work(part, 0);
    }

private:
    int threads_;  // 1, or the whole team
};

}  // namespace topseg
