// Threads where there is no system to ask for them: a browser's workers, which enter join() with
// the same memory and stay there for good.
#pragma once

#include <atomic>
#include <functional>

namespace topseg {

class Team {
public:
    // How many workers will enter join().
    int members = 0;

    // Calls work(part, worker) for every part in [0, parts), on the caller and those members that
    // come in time: nobody waits for one that the system lets wait.
    template <class Work>
    void run(int parts, const Work& work) {
        work_ = std::cref(work);
        parts_ = parts;
        done_.store(0, std::memory_order_relaxed);
        left_.store(parts, std::memory_order_release);
        stage_.fetch_add(1, std::memory_order_release);
        __builtin_wasm_memory_atomic_notify(reinterpret_cast<int*>(&stage_), members);
        take_parts(0);
        while (done_.load(std::memory_order_acquire) < parts) {  // a page's worker may do this
        }
    }

    // A member's life; worker is from 1 on.
    [[noreturn]] void join(int worker) {
        for (;;) {
            const int seen = stage_.load(std::memory_order_acquire);
            take_parts(worker);
            for (int look = 0; look < patience && stage_.load(std::memory_order_acquire) == seen;)
                ++look;
            __builtin_wasm_memory_atomic_wait32(reinterpret_cast<int*>(&stage_), seen, -1);
        }
    }

private:
    static constexpr int patience = 20000;  // looks at the next stage before a member sleeps

    // Who holds a part may read work_ and parts_: they change when all parts are done.
    void take_parts(int worker) {
        for (int left; (left = left_.fetch_sub(1, std::memory_order_acq_rel)) > 0;) {
            work_(parts_ - left, worker);
            done_.fetch_add(1, std::memory_order_release);
        }
    }

    std::function<void(int, int)> work_;
    int parts_ = 0;
    std::atomic<int> left_{0}, done_{0}, stage_{0};
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
