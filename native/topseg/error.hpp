// Errors of the library: one type for everything that a caller or a file can get wrong.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace topseg {

// The text says what is wrong, where, what was got and what was expected.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A bundle that cannot be used, in contrast to a call that was wrong.
struct BundleError : Error {
    using Error::Error;
};

// Throws, or, where there are no exceptions (WebAssembly), leaves the text in last_error and stops.
#ifdef __cpp_exceptions
template <class E = Error>
[[noreturn]] void raise(const std::string& text) {
    throw E(text);
}
#else
inline std::string& last_error() {
    static std::string text;
    return text;
}

template <class E = Error>
[[noreturn]] void raise(const std::string& text) {
    last_error() = text;
    std::abort();
}
#endif

}  // namespace topseg
