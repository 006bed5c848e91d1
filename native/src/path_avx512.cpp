// The network in sixteen lanes, with AVX-512.
//
// What is shared with other paths is included first: the pragma below would compile it, too, for
// instructions that not every processor has.
#include "topseg/network.hpp"
#include "topseg/nn/memory.hpp"

#ifdef TOPSEG_AVX2
#define TOPSEG_PATH avx512
#define TOPSEG_LANES 16
#ifdef __clang__
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=512")
#endif
namespace topseg {
namespace avx512 {
std::unique_ptr<Network> make_topformer(const Metadata&, const Weights&);
}
}  // namespace topseg
#include "topseg/models/topformer.hpp"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
