// segment BUNDLE IN.ppm OUT.pgm: a mask with OpenVINO alone, from the bundle's OpenVINO or ONNX
// graph.
#include <openvino/openvino.hpp>

#include <cstdio>
#include <exception>

#include "../picture.hpp"

int main(int count, char** words) {
    if (count != 4) {
        std::fprintf(stderr, "usage: segment BUNDLE IN.ppm OUT.pgm\n");
        return 2;
    }
    try {
        const std::string bundle = words[1];
        const bool own = std::ifstream(bundle + "/openvino.xml").good();
        ov::Core core;
        ov::CompiledModel model =
            core.compile_model(bundle + (own ? "/openvino.xml" : "/model.onnx"), "CPU",
                               ov::hint::inference_precision(ov::element::f32));

        const Map<std::uint8_t> picture = read_ppm(words[2]);
        Map<std::uint8_t> input = resized(picture, network_size(bundle, picture.size));
        const auto height = std::size_t(input.size.height), width = std::size_t(input.size.width);

        ov::InferRequest request = model.create_infer_request();
        request.set_input_tensor({ov::element::u8, {1, height, width, 3}, input.values.data()});
        request.infer();
        const ov::Tensor logits = request.get_output_tensor();  // (1, K, height / 8, width / 8)
        const ov::Shape shape = logits.get_shape();

        write_pgm(words[3], best_class(logits.data<float>(), int(shape[1]),
                                       {int(shape[2]), int(shape[3])}, picture.size));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
