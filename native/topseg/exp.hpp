// The exponential function in plain arithmetic, for loops that the compiler vectorises.
#pragma once

#include <cstdint>
#include <cstring>

#include "topseg/cpu.hpp"

namespace topseg {

constexpr float lowest_exponent = -87.0f;  // exp of it is near the smallest normal number

// exp(x) for x in [lowest_exponent, 0] within 2 parts in 10^7. The caller brings x into that range
// in another loop: a bound here would make a branch of it, which compilers do not vectorise.
// Range reduction and polynomial are those of Cephes (Moshier, expf). Adding 1.5 * 2^23 rounds to
// the nearest integer and leaves it in the low bits; -ffast-math would remove that step.
TOPSEG_INLINE float fast_exp(float x) {
    const float shifted = x * 1.44269504088896341f + 0x1.8p23f;
    const float n = shifted - 0x1.8p23f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    const float y = (p * r * r + r) + 1.0f;  // in [0.7, 1.42]
    std::uint32_t exponent, bits;
    std::memcpy(&exponent, &shifted, sizeof exponent);
    std::memcpy(&bits, &y, sizeof bits);
    bits += exponent << 23;
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

}  // namespace topseg
