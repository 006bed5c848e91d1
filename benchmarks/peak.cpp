// The limits of a processor: multiply-adds per second from registers, bytes per second by the size
// of what is read. Compiled by engine.py for vectors of WIDTH bytes; prints one line each.
//
//     peak THREADS SIZE...   -> "flops 1.7e11", then "bytes SIZE 5.1e10" for each size
//
// Every thread reads an array of its own, of the given number of bytes.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

typedef float Vector __attribute__((vector_size(WIDTH)));
constexpr int lanes = WIDTH / 4;
constexpr int chains = 12;  // more than latency times units, fewer than registers

double now() {
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

// Runs work in every thread at once, several times; the shortest time.
double shortest(int threads, const std::function<void(int)>& work) {
    double best = 1e9;
    for (int repeat = 0; repeat < 100; ++repeat) {
        std::atomic<int> waiting{threads};
        std::vector<double> begun(threads), ended(threads);
        std::vector<std::thread> crew;
        for (int i = 0; i < threads; ++i)
            crew.emplace_back([&, i] {
                --waiting;
                while (waiting > 0) std::this_thread::yield();
                begun[i] = now();
                work(i);
                ended[i] = now();
            });
        for (auto& thread : crew) thread.join();
        best = std::min(best, *std::max_element(ended.begin(), ended.end()) -
                                  *std::min_element(begun.begin(), begun.end()));
    }
    return best;
}

std::vector<float> sinks(64);  // results go here, so that no work is left out

void multiply(int thread, long rounds) {
    volatile float seed = 0.999f;
    Vector sum[chains], factor = Vector{} + seed, term = Vector{} + (1 - seed);
    for (auto& one : sum) one = Vector{} + seed;
    for (long round = 0; round < rounds; ++round)
#pragma GCC unroll 12
        for (int i = 0; i < chains; ++i) sum[i] = sum[i] * factor + term;
    for (auto& one : sum) sinks[thread] += one[0];
}

void read(int thread, const std::vector<float>& from, long rounds) {
    Vector sum[8] = {};
    const std::size_t step = 8 * lanes;
    for (long round = 0; round < rounds; ++round) {
        for (std::size_t at = 0; at + step <= from.size(); at += step)
            for (int i = 0; i < 8; ++i) {
                Vector value;
                std::memcpy(&value, &from[at + i * lanes], sizeof(value));
                sum[i] += value;
            }
        asm volatile("" ::: "memory");
    }
    for (auto& one : sum) sinks[thread] += one[0];
}

int main(int count, char** words) {
    const int threads = count > 1 ? std::clamp(std::atoi(words[1]), 1, 64) : 1;
    const long rounds = 300000;
    const double seconds = shortest(threads, [&](int i) { multiply(i, rounds); });
    std::printf("flops %.4g\n", 2.0 * chains * lanes * rounds * threads / seconds);
    for (int word = 2; word < count; ++word) {
        const long size = std::max(std::atol(words[word]), 4096L);
        std::vector<std::vector<float>> arrays(threads, std::vector<float>(size / 4, 1.0f));
        const long times = std::max(1L, (8L << 20) / size);
        const double taken = shortest(threads, [&](int i) { read(i, arrays[i], times); });
        std::printf("bytes %ld %.4g\n", size, double(size) * times * threads / taken);
    }
}
