#include <charconv>
#include <cstdio>

#include "commands.hpp"

namespace topseg_cli {
namespace {

const std::map<std::string, bool> options = {
    // name -> whether a value follows
    {"--out", true},     {"--overlay", false},  {"--json", false}, {"--seconds", true},
    {"--threads", true}, {"--code-path", true}, {"--help", false}, {"--json-file", true},
};

}  // namespace

Arguments::Arguments(int count, char** words) {
    for (int i = 0; i < count; ++i) {
        std::string word = words[i];
        if (word.size() < 2 || word[0] != '-') {
            (command_.empty() ? command_ : words_.emplace_back()) = word;
            continue;
        }
        std::string value;
        const auto equals = word.find('=');
        const bool joined = equals != std::string::npos;
        if (joined) {
            value = word.substr(equals + 1);
            word.resize(equals);
        }
        const auto known = options.find(word);
        if (known == options.end()) throw InputError("no option '" + word + "'; see --help");
        if (joined && !known->second) throw InputError(word + ": takes no value");
        if (known->second && !joined) {
            if (++i == count) throw InputError(word + ": a value is missing");
            value = words[i];
        }
        options_[word] = value;
    }
}

std::string Arguments::text(const std::string& option, const std::string& fallback) const {
    const auto found = options_.find(option);
    return found == options_.end() ? fallback : found->second;
}

int Arguments::number(const std::string& option, int fallback) const {
    const std::string word = text(option, std::to_string(fallback));
    int value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value < 0)
        throw InputError(option + ": got '" + word + "', expected a whole number from 0");
    return value;
}

topseg::Model Arguments::open(bool check_hashes) const {
    if (words_.empty()) throw InputError(command_ + ": give a bundle's folder; see --help");
    const std::string path = text("--code-path", "");
    topseg_options settings{};
    settings.threads = number("--threads", 1);
    settings.code_path = path.empty() ? nullptr : path.c_str();
    settings.check_hashes = check_hashes;
    return topseg::Model(words_[0], settings);
}

std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char letter : text) {
        if (letter == '"' || letter == '\\') out += '\\';
        if (static_cast<unsigned char>(letter) < 0x20) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", letter);
            out += code;
        } else {
            out += letter;
        }
    }
    return out + '"';
}

}  // namespace topseg_cli
