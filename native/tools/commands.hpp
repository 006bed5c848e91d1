// The program's commands, and the words they are given.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "image_file.hpp"
#include "topseg.hpp"

namespace topseg_cli {

// "COMMAND WORD... --option value --flag"; throws InputError for an option that is not known.
class Arguments {
public:
    Arguments(int count, char** words);

    const std::string& command() const { return command_; }
    const std::vector<std::string>& words() const { return words_; }
    bool has(const std::string& option) const { return options_.count(option) > 0; }
    std::string text(const std::string& option, const std::string& fallback) const;
    int number(const std::string& option, int fallback) const;

    // Opens the first word, the bundle, with --threads and --code-path.
    topseg::Model open(bool check_hashes = false) const;

private:
    std::string command_;
    std::vector<std::string> words_;
    std::map<std::string, std::string> options_;
};

// Each returns the process's exit code.
int predict(const Arguments& arguments);
int bench(const Arguments& arguments);
int info(const Arguments& arguments);

// A string as JSON, quotes included.
std::string quoted(const std::string& text);

// The mask of an image, as a PNG file's bytes.
Bytes mask_png(const topseg::Model& model, const topseg::Mask& mask);

}  // namespace topseg_cli
