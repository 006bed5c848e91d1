// The network in eight lanes, with AVX2 and FMA.
//
// What is shared with other paths is included first: the pragma below would compile it, too, for
// instructions that not every processor has.
#include "topseg/network.hpp"
#include "topseg/nn/memory.hpp"

#ifdef TOPSEG_AVX2
#define TOPSEG_PATH avx2
#define TOPSEG_LANES 8
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
namespace topseg {
namespace avx2 {
std::unique_ptr<Network> make_topformer(const Metadata&, const Weights&);
}
}  // namespace topseg
#include "topseg/models/topformer.hpp"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
