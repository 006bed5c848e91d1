// Threads: every part is done once, and what a part throws reaches the caller, whichever thread it
// ran on; afterwards the pool is as good as before.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "topseg/pool.hpp"

namespace {

void check(bool condition, const char* what) {
    if (condition) return;
    std::printf("wrong: %s\n", what);
    std::exit(1);
}

template <class Run>
void every_part_once(const Run& run) {
    std::vector<std::atomic<int>> done(100);
    run(100, [&](int part, int) { ++done[std::size_t(part)]; });
    for (const auto& count : done) check(count == 1, "a part is not done once");
}

template <class Run>
void problems_arrive(const Run& run) {
    for (int bad = 0; bad < 100; bad += 11) {
        std::string found;
        try {
            run(100, [&](int part, int) {
                if (part >= bad) throw std::runtime_error("part");
            });
        } catch (const std::runtime_error& error) {
            found = error.what();
        }
        check(found == "part", "an exception does not reach the caller");
        every_part_once(run);
    }
}

}  // namespace

int main() {
    for (const int threads : {-1, 0, 1, 2, 5, 1000000}) {
        topseg::ThreadPool pool(threads);
        check(pool.threads() >= 1 && pool.threads() <= 256, "a number of threads");
        const auto by_pool = [&](int parts, const auto& work) { pool.run(parts, work); };
        const auto alone = [&](int parts, const auto& work) {
            topseg::run_parts(parts, threads, work);
        };
        for (int round = 0; round < 20; ++round) every_part_once(by_pool);
        every_part_once(alone);
        problems_arrive(by_pool);
        if (threads < 100) problems_arrive(alone);
    }
    std::printf("ok\n");
}
