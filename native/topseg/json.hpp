// JSON, as far as metadata.json and the header of a safetensors file need it. The text comes from a
// file that may be hostile: depth and number of values are bounded, and every error is an
// exception.
#pragma once

#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "topseg/error.hpp"

namespace topseg {

struct Json {
    enum class Kind { null, boolean, number, text, list, mapping };

    Kind kind = Kind::null;
    double number = 0;  // of a boolean too: 0 or 1
    std::string text;
    std::vector<Json> items;                            // of a list
    std::vector<std::pair<std::string, Json>> members;  // of a mapping, in their order

    // A member by its key, or null where there is none.
    const Json* find(std::string_view key) const {
        for (const auto& [name, value] : members)
            if (name == key) return &value;
        return nullptr;
    }
};

class JsonReader {
public:
    // Reads a whole text; `where` is what errors call it.
    static Json read(std::string_view text, const std::string& where) {
        JsonReader reader(text, where);
        Json value = reader.value(0);
        reader.skip_space();
        if (reader.at_ != text.size()) reader.fail("text after the end");
        return value;
    }

private:
    static constexpr int max_depth = 32;
    static constexpr int max_values = 1 << 20;  // 100 MB of Json; 65,535 classes take a third

    JsonReader(std::string_view text, const std::string& where) : text_(text), where_(where) {}

    [[noreturn]] void fail(const char* problem) const {
        raise<BundleError>(where_ + ": not valid JSON at byte " + std::to_string(at_) + ": " +
                           problem);
    }

    void skip_space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' ||
                                      text_[at_] == '\r' || text_[at_] == '\t'))
            ++at_;
    }

    bool take(char letter) {
        skip_space();
        if (at_ == text_.size() || text_[at_] != letter) return false;
        ++at_;
        return true;
    }

    bool take(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    Json value(int depth) {
        if (depth == max_depth) fail("nested too deeply");
        if (++values_ > max_values) fail("more than 2^20 values");
        Json found;
        if (take('{')) {
            found.kind = Json::Kind::mapping;
            if (take('}')) return found;
            do {
                skip_space();
                std::string key = string();
                if (!take(':')) fail("expected ':'");
                found.members.emplace_back(std::move(key), value(depth + 1));
            } while (take(','));
            if (!take('}')) fail("expected ',' or '}'");
        } else if (take('[')) {
            found.kind = Json::Kind::list;
            if (take(']')) return found;
            do found.items.push_back(value(depth + 1));
            while (take(','));
            if (!take(']')) fail("expected ',' or ']'");
        } else if (at_ < text_.size() && text_[at_] == '"') {
            found.kind = Json::Kind::text;
            found.text = string();
        } else if (take("true") || take("false")) {
            found.kind = Json::Kind::boolean;
            found.number = text_[at_ - 2] == 'u';
        } else if (!take("null")) {
            found.kind = Json::Kind::number;
            found.number = read_number();
        }
        return found;
    }

    double read_number() {
        const std::size_t start = at_;
        while (at_ < text_.size() &&
               std::string_view("+-.0123456789eE").find(text_[at_]) != std::string_view::npos)
            ++at_;
        const std::string word(text_.substr(start, at_ - start));
        double number = 0;
#ifdef __cpp_lib_to_chars
        // Whatever the program's locale is; a number beyond the range of double is wrong as well.
        const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
        const bool fine = error == std::errc() && end == word.data() + word.size();
#else
        char* end = nullptr;
        number = std::strtod(word.c_str(), &end);
        const bool fine = !word.empty() && !*end;
#endif
        if (!fine) fail("expected a value");
        return number;
    }

    unsigned hex4() {
        unsigned code = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            const char digit = at_ < text_.size() ? text_[at_] : 'x';
            code <<= 4;
            if (digit >= '0' && digit <= '9')
                code |= unsigned(digit - '0');
            else if ((digit | 32) >= 'a' && (digit | 32) <= 'f')
                code |= unsigned((digit | 32) - 'a' + 10);
            else
                fail("expected four hexadecimal digits");
        }
        return code;
    }

    static void append_utf8(std::string& out, unsigned code) {
        if (code < 0x80) {
            out += char(code);
        } else if (code < 0x800) {
            out += char(0xC0 | code >> 6);
            out += char(0x80 | (code & 63));
        } else {
            if (code >= 0x10000) {
                out += char(0xF0 | code >> 18);
                out += char(0x80 | (code >> 12 & 63));
            } else {
                out += char(0xE0 | code >> 12);
            }
            out += char(0x80 | (code >> 6 & 63));
            out += char(0x80 | (code & 63));
        }
    }

    std::string string() {
        if (at_ == text_.size() || text_[at_] != '"') fail("expected '\"'");
        std::string out;
        for (++at_; at_ < text_.size();) {
            const char letter = text_[at_++];
            if (letter == '"') return out;
            if (letter != '\\') {
                out += letter;
                continue;
            }
            const char escaped = at_ < text_.size() ? text_[at_++] : '"';
            const std::size_t known = std::string_view("\"\\/bfnrtu").find(escaped);
            if (known == std::string_view::npos) fail("an unknown escape");
            if (escaped != 'u') {
                out += "\"\\/\b\f\n\r\t"[known];
                continue;
            }
            unsigned code = hex4();
            if (code >= 0xD800 && code < 0xDC00 && take("\\u"))  // a surrogate pair
                code = 0x10000 + ((code - 0xD800) << 10) + ((hex4() - 0xDC00) & 0x3FF);
            append_utf8(out, code);
        }
        fail("the end of a string is missing");
    }

    std::string_view text_;
    const std::string& where_;
    std::size_t at_ = 0;
    int values_ = 0;
};

}  // namespace topseg
