// topseg-cli: masks for images, without Python.
#include <cstdio>
#include <cstring>
#include <exception>

#include "commands.hpp"

namespace {

constexpr char usage[] =
    "topseg-cli " /* version follows at run time */
    "%s: masks for images from a topseg bundle\n"
    "\n"
    "  topseg-cli predict BUNDLE IMAGE... --out DIR [--overlay] [--json]\n"
    "      a mask (PNG with palette) for each JPEG or PNG file, or each in a folder, at its own "
    "size\n"
    "  topseg-cli bench BUNDLE IMAGE [--seconds S] [--json-file FILE]\n"
    "      the time from file to mask, stage by stage; 'topseg bench --import FILE' takes the "
    "JSON\n"
    "  topseg-cli info BUNDLE\n"
    "      what the model is; checks the SHA-256 of its weights\n"
    "\n"
    "Options of all: --threads N (0: one for each processor), --code-path NAME, --help\n"
    "Exit codes: 0; 2 a wrong argument or bundle; 3 some images could not be read, all others are "
    "done\n";

}  // namespace

int main(int count, char** words) {
    using namespace topseg_cli;
    try {
        const Arguments arguments(count - 1, words + 1);
        if (arguments.has("--help") || arguments.command().empty()) {
            std::printf(usage, topseg_version());
            return arguments.command().empty() && !arguments.has("--help") ? 2 : 0;
        }
        if (arguments.command() == "predict") return predict(arguments);
        if (arguments.command() == "bench") return bench(arguments);
        if (arguments.command() == "info") return info(arguments);
        throw InputError("no command '" + arguments.command() + "', known: predict, bench, info");
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "topseg-cli: not enough memory\n");
    } catch (const std::exception& error) {
        std::fprintf(stderr, "topseg-cli: %s\n", error.what());
    }
    return 2;
}
