// The network in four lanes: what every processor has (SSE2, NEON, SIMD128), and the list of paths.
#include <cstdio>

#include "topseg/network.hpp"
#include "topseg/nn/memory.hpp"

#ifdef __aarch64__
#include <arm_neon.h>
#endif
#if defined(__unix__) && !defined(__wasm__)
#include <unistd.h>
#endif

#define TOPSEG_PATH portable
#define TOPSEG_LANES 4
#include "topseg/models/topformer.hpp"

namespace topseg {

#ifdef TOPSEG_AVX2
namespace avx2 {
std::unique_ptr<Network> make_topformer(const Metadata&, const Weights&);
}
namespace avx512 {
std::unique_ptr<Network> make_topformer(const Metadata&, const Weights&);
}
#endif

const std::vector<CodePath>& code_paths() {
#if defined(__aarch64__)
    constexpr const char* name = "neon";
#elif defined(__wasm_relaxed_simd__)
    constexpr const char* name = "relaxed";
#elif defined(__wasm__)
    constexpr const char* name = "simd128";
#else
    constexpr const char* name = "portable";
#endif
    static const std::vector<CodePath> paths = {
#ifdef TOPSEG_AVX2
        {"avx512",
         [] {
             __builtin_cpu_init();
             return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
         },
         avx512::make_topformer},
        {"avx2", [] { return supported(Path::avx2); }, avx2::make_topformer},
#endif
        {name, [] { return true; }, portable::make_topformer},
    };
    return paths;
}

std::size_t cache_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
    static const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (found > 0) return std::size_t(found);
#endif
    return std::size_t(512) << 10;
}

}  // namespace topseg
