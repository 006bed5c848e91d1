// Random numbers that follow from a seed and a case's number, and the damage they do to files.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace topseg_fuzz {

// SplitMix64: the same numbers on every system, which the standard distributions do not give.
class Random {
public:
    Random(std::uint64_t seed, long number)
        : state_(seed * 0x9E3779B97F4A7C15u + std::uint64_t(number) * 0xD1B54A32D192ED03u) {}

    std::uint64_t bits() {
        std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        return z ^ z >> 31;
    }

    std::size_t below(std::size_t count) { return count ? std::size_t(bits() % count) : 0; }
    int from(int low, int high) { return low + int(below(std::size_t(high - low + 1))); }
    // The same with low numbers more often.
    int small(int low, int high) { return from(low, from(low, high)); }
    bool chance(int one_in) { return below(std::size_t(one_in)) == 0; }
    float unit() { return float(bits() >> 40) * 0x1p-24f; }

private:
    std::uint64_t state_;
};

// Any file: bytes changed, spans removed, repeated, moved or set, the end cut off.
template <class File>
void mutate_bytes(File& file, Random& random) {
    static constexpr unsigned char edges[] = {0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF};
    const std::size_t at = random.below(file.size());
    const std::size_t length = std::min(file.size() - at, 1 + random.below(64));
    const auto begin = file.begin() + std::ptrdiff_t(at);
    const auto end = begin + std::ptrdiff_t(length);
    switch (random.from(0, 5)) {
        case 0:
            if (!file.empty()) *begin = typename File::value_type(random.bits());
            break;
        case 1:
            if (!file.empty()) *begin = typename File::value_type(*begin ^ 1 << random.from(0, 7));
            break;
        case 2:
            file.erase(begin, end);
            break;
        case 3: {
            const File span(begin, end);
            const auto to = std::ptrdiff_t(random.below(file.size() + 1));
            file.insert(file.begin() + to, span.begin(), span.end());
            break;
        }
        case 4:
            std::fill(begin, end, typename File::value_type(edges[random.below(7)]));
            break;
        default:
            file.resize(at);
            break;
    }
}

// JSON: numbers and words that a reader has to bear, in the place of others.
inline void mutate_text(std::string& text, Random& random) {
    static const std::vector<std::string> numbers = {
        "0",     "-1",         "1e999",      "-1e-999", "NaN",
        "0.5",   "2147483648", "4294967296", "1e18",    "18446744073709551616",
        "65536", "16777217",   "64",         "33",      std::string(400, '9')};
    static const std::vector<std::string> words = {"{",
                                                   "}",
                                                   "[",
                                                   "]",
                                                   ",",
                                                   ":",
                                                   "\"",
                                                   "\\",
                                                   "\\u",
                                                   "\\ud800",
                                                   "null",
                                                   "true",
                                                   "\"\"",
                                                   "[]",
                                                   "{}",
                                                   "../x",
                                                   std::string(40, '['),
                                                   std::string(1, '\0'),
                                                   "\xff",
                                                   "-",
                                                   "e"};
    for (int times = random.small(1, 4); times > 0; --times) {
        std::size_t at = random.below(text.size() + 1);
        switch (random.from(0, 3)) {
            case 0:
                mutate_bytes(text, random);
                break;
            case 1: {  // the next number
                at = text.find_first_of("0123456789", at);
                if (at == std::string::npos) break;
                const std::size_t end =
                    std::min(text.find_first_not_of("0123456789.", at), text.size());
                text.replace(at, end - at, numbers[random.below(numbers.size())]);
                break;
            }
            case 2:
                text.insert(at, words[random.below(words.size())]);
                break;
            default: {  // one value in the place of another
                const std::size_t from = text.find_first_of("[{\"0123456789", at);
                if (from == std::string::npos) break;
                text.replace(from, 1, words[random.below(words.size())]);
            }
        }
    }
}

// weights.safetensors: its header as text, its length, or the values.
inline void mutate_safetensors(std::string& file, Random& random) {
    std::uint64_t length = 0;
    for (std::size_t i = 8; i-- > 0;) length = length << 8 | std::uint8_t(file[i]);
    const int kind = random.from(0, 9);
    if (kind == 0) {  // values
        mutate_bytes(file, random);
    } else if (kind == 1) {  // not numbers, or large ones
        const std::size_t at = 8 + length + random.below(file.size() - 8 - length - 4);
        for (std::size_t i = 0; i < 4; ++i) file[at + i] = random.chance(2) ? '\x7f' : '\xff';
    } else if (kind == 2) {  // the header's length
        for (std::size_t i = 0; i < 8; ++i)
            if (random.chance(3)) file[i] = char(random.chance(2) ? random.bits() : 0xFF);
    } else if (kind == 3) {  // the end is missing
        file.resize(random.below(file.size()));
    } else {
        std::string header = file.substr(8, length);
        mutate_text(header, random);
        const std::string data = file.substr(8 + length);
        for (std::size_t i = 0; i < 8; ++i) file[i] = char(std::uint64_t(header.size()) >> 8 * i);
        file.resize(8);
        file += header + data;
    }
}

using Bytes = std::vector<std::uint8_t>;

inline void write_number(Bytes& file, std::size_t at, std::uint32_t value, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes && at + i < file.size(); ++i)
        file[at + i] = std::uint8_t(value >> 8 * (bytes - 1 - i));
}

// A size that a header may claim.
inline std::uint32_t claimed(Random& random) {
    static constexpr std::uint32_t sizes[] = {
        0, 1, 7, 32768, 65500, 65535, 100000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 20};
    return random.chance(2) ? sizes[random.below(11)] : std::uint32_t(random.from(1, 300));
}

// Makes the checksums of a PNG's chunks right again, so that damage gets past them.
inline void mend_checksums(Bytes& file) {
    for (std::size_t at = 8; at + 12 <= file.size();) {
        const std::size_t length = std::size_t(file[at]) << 24 | std::size_t(file[at + 1]) << 16 |
                                   std::size_t(file[at + 2]) << 8 | file[at + 3];
        if (length > file.size() - at - 12) return;
        write_number(file, at + 8 + length,
                     std::uint32_t(crc32(0, &file[at + 4], uInt(length + 4))), 4);
        at += 12 + length;
    }
}

// A chunk or a segment with an EXIF orientation, and damage in it.
inline void insert_exif(Bytes& file, bool png, Random& random) {
    Bytes tiff = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0};
    tiff[18] = std::uint8_t(random.from(0, 9));
    if (random.chance(2)) mutate_bytes(tiff, random);
    Bytes part;
    if (png) {
        part = {0, 0, 0, std::uint8_t(tiff.size()), 'e', 'X', 'I', 'f'};
        part.insert(part.end(), tiff.begin(), tiff.end());
        part.resize(part.size() + 4);
    } else {
        part = {0xFF, 0xE1, 0, std::uint8_t(tiff.size() + 8), 'E', 'x', 'i', 'f', 0, 0};
        part.insert(part.end(), tiff.begin(), tiff.end());
    }
    const std::ptrdiff_t at = png ? 33 : 2;  // after IHDR, after the start
    if (std::size_t(at) < file.size()) file.insert(file.begin() + at, part.begin(), part.end());
}

// JPEG or PNG: sizes in the header, EXIF, and damage anywhere.
inline void mutate_image(Bytes& file, Random& random) {
    const bool png = !file.empty() && file[0] == 0x89;
    if (random.chance(4)) insert_exif(file, png, random);
    if (random.chance(4)) {
        std::size_t at = 16;  // of IHDR's width; or of the height in a frame's header
        if (!png) {
            at = 5;
            for (std::size_t i = 2; i + 9 < file.size(); ++i)
                if (file[i] == 0xFF && file[i + 1] >= 0xC0 && file[i + 1] <= 0xC2) at = i + 5;
        }
        const std::size_t bytes = png ? 4 : 2;
        if (random.chance(2)) write_number(file, at, claimed(random), bytes);
        if (random.chance(2)) write_number(file, at + bytes, claimed(random), bytes);
        if (png && random.chance(2)) write_number(file, 24, std::uint32_t(random.bits()), 4);
    }
    for (int times = random.small(0, 4); times > 0; --times) mutate_bytes(file, random);
    if (png && random.chance(2)) mend_checksums(file);
}

}  // namespace topseg_fuzz
