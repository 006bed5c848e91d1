// The exponential function in plain arithmetic, for loops that the compiler vectorises.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "topseg/cpu.hpp"

namespace topseg {

// a * b + c, rounded once where the code path has the instruction and twice where it has not.
template <Path path>
TOPSEG_INLINE float multiply_add(float a, float b, float c) {
    if constexpr (path == Path::portable)
        return a * b + c;
    else
        return std::fma(a, b, c);
}

// exp(x) for x <= 0 within 2 parts in 10^7, and 0 below -87 (where it is less than 2e-38).
// Range reduction and polynomial are those of Cephes (Moshier, expf). Adding 1.5 * 2^23 rounds to
// the nearest integer and leaves it in the low bits; -ffast-math would remove that step.
template <Path path>
TOPSEG_INLINE float exp_of_nonpositive(float x) {
    const float shifted = multiply_add<path>(x, 1.44269504088896341f, 0x1.8p23f);
    const float n = shifted - 0x1.8p23f;
    float r = multiply_add<path>(n, -0.693359375f, x);
    r = multiply_add<path>(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = multiply_add<path>(p, r, 1.3981999507e-3f);
    p = multiply_add<path>(p, r, 8.3334519073e-3f);
    p = multiply_add<path>(p, r, 4.1665795894e-2f);
    p = multiply_add<path>(p, r, 1.6666665459e-1f);
    p = multiply_add<path>(p, r, 5.0000001201e-1f);
    const float y = multiply_add<path>(p * r, r, r) + 1.0f;  // in [0.7, 1.42]
    std::uint32_t exponent, bits;
    std::memcpy(&exponent, &shifted, sizeof exponent);
    std::memcpy(&bits, &y, sizeof bits);
    bits += exponent << 23;
    bits &= std::uint32_t(x < -87.0f) - 1;  // a choice would be a branch, which stops vectorising
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

}  // namespace topseg
