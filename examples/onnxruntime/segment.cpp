// segment BUNDLE IN.ppm OUT.pgm: a mask with ONNX Runtime alone, from the bundle's ONNX graph.
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdio>
#include <exception>
#include <filesystem>

#include "../picture.hpp"

int main(int count, char** words) {
    if (count != 4) {
        std::fprintf(stderr, "usage: segment BUNDLE IN.ppm OUT.pgm\n");
        return 2;
    }
    try {
        const std::string bundle = words[1];
        const std::filesystem::path graph = bundle + "/model.onnx";
        Ort::Env env;
        Ort::Session session(env, graph.c_str(), Ort::SessionOptions{});

        const Map<std::uint8_t> picture = read_ppm(words[2]);
        Map<std::uint8_t> input = resized(picture, network_size(bundle, picture.size));
        const std::array<std::int64_t, 4> shape{1, input.size.height, input.size.width, 3};

        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const Ort::Value images = Ort::Value::CreateTensor<std::uint8_t>(
            memory, input.values.data(), input.values.size(), shape.data(), shape.size());
        const char *input_name = "images", *output_name = "logits";
        const auto outputs =
            session.Run(Ort::RunOptions{nullptr}, &input_name, &images, 1, &output_name, 1);
        const auto found = outputs[0].GetTensorTypeAndShapeInfo().GetShape();  // (1, K, h, w)

        write_pgm(words[3], best_class(outputs[0].GetTensorData<float>(), int(found[1]),
                                       {int(found[2]), int(found[3])}, picture.size));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
