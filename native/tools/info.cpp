#include <cstdio>

#include "commands.hpp"

namespace topseg_cli {

int info(const Arguments& arguments) {
    if (arguments.words().size() != 1) throw InputError("info: give one bundle's folder");
    const topseg::Model model = arguments.open(true);
    const topseg_info& found = model.info();
    std::printf("%s: %d classes, %d channels, logits at stride %d, input in multiples of %d\n",
                found.name, found.num_classes, found.channels, found.stride, found.multiple);
    if (found.notice) std::printf("notice: %s\n", found.notice);
    for (int k = 0; k < found.num_classes; ++k) {
        std::uint8_t rgb[3];
        topseg_class(model.get(), k, nullptr, rgb);
        std::printf("%5d  #%02x%02x%02x  %s\n", k, rgb[0], rgb[1], rgb[2],
                    model.class_name(k).c_str());
    }
    std::printf("weights: SHA-256 as metadata.json says\n");
    return 0;
}

}  // namespace topseg_cli
