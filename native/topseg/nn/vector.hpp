// One vector of floats, as wide as the code path has it: TOPSEG_LANES lanes, by the compiler's
// vector extensions. The kernels in this folder are written once in terms of it, and compiled once
// a code path, in the namespace topseg::TOPSEG_PATH (see src/path_*.cpp).
//
// Contraction is off everywhere, so that fma() alone decides where a product and a sum are rounded
// once: a kernel's result does not depend on how it was cut into tiles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#define TOPSEG_KERNEL __attribute__((always_inline)) inline

namespace topseg {
namespace TOPSEG_PATH {

constexpr int lanes = TOPSEG_LANES;

typedef float Vector __attribute__((vector_size(4 * TOPSEG_LANES)));
typedef std::int32_t Integers __attribute__((vector_size(4 * TOPSEG_LANES)));

// The same anywhere in memory. Copied by memcpy, some vectors would go by way of the stack.
typedef float Loose __attribute__((vector_size(4 * TOPSEG_LANES), aligned(4), may_alias));

#if TOPSEG_LANES == 16
constexpr __mmask16 all = 0xFFFF;  // GCC 12 warns of what its forms without a mask leave unset
#endif

TOPSEG_KERNEL Vector load(const float* p) { return *reinterpret_cast<const Loose*>(p); }

// The same from bytes, as numbers of 0 to 255.
TOPSEG_KERNEL Vector load(const std::uint8_t* p) {
#if TOPSEG_LANES == 16
    const __m128i bytes = _mm_loadu_si128((const __m128i*)p);
    return (Vector)_mm512_maskz_cvtepi32_ps(all, _mm512_maskz_cvtepu8_epi32(all, bytes));
#elif TOPSEG_LANES == 8
    return (Vector)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)));
#else
    typedef std::uint8_t Bytes __attribute__((vector_size(TOPSEG_LANES)));
    Bytes bytes;
    std::memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(bytes, Vector);
#endif
}

TOPSEG_KERNEL void store(float* p, Vector v) { *reinterpret_cast<Loose*>(p) = v; }
// Keeps a value that is used more than once in its register: read from memory for each use, it
// would take more loads than a core has in that time.
TOPSEG_KERNEL Vector pinned(Vector v) {
#if TOPSEG_LANES > 4
    asm("" : "+v"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#endif
    return v;
}

TOPSEG_KERNEL Vector splat(float x) { return x - Vector{}; }

// The compilers do not make one instruction of a comparison and a choice everywhere.
TOPSEG_KERNEL Vector largest(Vector a, Vector b) {
#if TOPSEG_LANES == 16
    return (Vector)_mm512_maskz_max_ps(all, (__m512)a, (__m512)b);
#elif TOPSEG_LANES == 8
    return (Vector)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return a > b ? a : b;
#endif
}

TOPSEG_KERNEL Vector smallest(Vector a, Vector b) {
#if TOPSEG_LANES == 16
    return (Vector)_mm512_maskz_min_ps(all, (__m512)a, (__m512)b);
#elif TOPSEG_LANES == 8
    return (Vector)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return a < b ? a : b;
#endif
}

// a * b + c, rounded once where the processor can.
TOPSEG_KERNEL Vector fma(Vector a, Vector b, Vector c) {
#if TOPSEG_LANES == 16
    return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif TOPSEG_LANES == 8
    return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (Vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(__wasm_relaxed_simd__)
    return (Vector)__builtin_wasm_relaxed_madd_f32x4(a, b, c);
#else
    return a * b + c;
#endif
}

TOPSEG_KERNEL float sum_of(Vector v) {
    float sum = 0;
    for (int i = 0; i < lanes; ++i) sum += v[i];
    return sum;
}

TOPSEG_KERNEL float largest_of(Vector v) {
    float most = v[0];
    for (int i = 1; i < lanes; ++i) most = v[i] > most ? v[i] : most;
    return most;
}

// exp(x) for x <= 0, within 2 units in the last place: 2^n by the exponent's bits, the rest of the
// exponent by Taylor's polynomial.
TOPSEG_KERNEL Vector exp_negative(Vector x) {
    x = largest(x, splat(-87.f));
    const Vector magic = splat(12582912.f);  // adding it rounds to a whole number
    const Vector shifted = fma(x, splat(1.44269504f), magic);
    const Integers exponent = (Integers)shifted - 0x4B400000;
    const Vector n = shifted - magic;
    const Vector f = fma(n, splat(-1.42860677e-6f), fma(n, splat(-0.693145752f), x));
    Vector p = splat(1.38888889e-3f);
    p = fma(p, f, splat(8.33333333e-3f));
    p = fma(p, f, splat(4.16666667e-2f));
    p = fma(p, f, splat(1.66666667e-1f));
    p = fma(p, f, splat(0.5f));
    p = fma(p, f, splat(1.f));
    p = fma(p, f, splat(1.f));
    return (Vector)((Integers)p + (exponent << 23));
}

// Floats of two vectors by their places; GCC has clang's name for it from version 12 on.
#ifdef __clang__
#define TOPSEG_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef std::int32_t Places __attribute__((vector_size(16)));
#define TOPSEG_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Places{__VA_ARGS__})
#endif

// (rows, columns) -> (columns, rows), whose rows lie `in_step` and `out_step` floats apart, by
// blocks of 4x4: both are multiples of 4.
inline void transpose(const float* in, std::ptrdiff_t in_step, int rows, int columns, float* out,
                      std::ptrdiff_t out_step) {
    typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
    for (int column = 0; column < columns; column += 4)
        for (int row = 0; row < rows; row += 4) {
            Four from[4], pairs[4], turned[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i)
                from[i] = *reinterpret_cast<const Four*>(in + (row + i) * in_step + column);
#pragma GCC unroll 2
            for (int i = 0; i < 2; ++i) {
                pairs[i] = TOPSEG_SHUFFLE(from[2 * i], from[2 * i + 1], 0, 4, 1, 5);
                pairs[i + 2] = TOPSEG_SHUFFLE(from[2 * i], from[2 * i + 1], 2, 6, 3, 7);
            }
#pragma GCC unroll 2
            for (int i = 0; i < 2; ++i) {
                const Four low = pairs[2 * i], high = pairs[2 * i + 1];
                turned[2 * i] = TOPSEG_SHUFFLE(low, high, 0, 1, 4, 5);
                turned[2 * i + 1] = TOPSEG_SHUFFLE(low, high, 2, 3, 6, 7);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i)
                *reinterpret_cast<Four*>(out + (column + i) * out_step + row) = turned[i];
        }
}

// Channels of a map, rounded up to whole vectors; the ones beyond are zero.
constexpr int padded(int channels) { return (channels + lanes - 1) / lanes * lanes; }

enum class Activation { none, relu, relu6 };

template <Activation activation>
TOPSEG_KERNEL Vector activate(Vector v) {
    if constexpr (activation != Activation::none) v = largest(v, Vector{});
    if constexpr (activation == Activation::relu6) v = smallest(v, splat(6.f));
    return v;
}

}  // namespace TOPSEG_PATH
}  // namespace topseg
