// score DETECTOR.onnx < rows: one row of numbers after another on stdin; score and verdict of each on stdout.
// Not compiled in CI: see examples/README.md.
#include <cstdint>
#include <cstdio>
#include <vector>

#include <onnxruntime_cxx_api.h>

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "score DETECTOR.onnx < rows\n");
        return 2;
    }
    try {
        Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "score");
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(1);
        options.AddConfigEntry("session.set_denormal_as_zero", "1");
        Ort::Session session(environment, argv[1], options);

        std::vector<std::int64_t> shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
        shape[0] = 1;  // one row
        std::size_t width = 1;
        for (std::int64_t size : shape) width *= static_cast<std::size_t>(size);

        std::vector<float> row(width);  // raw units: scaling is inside the graph; a missing value is NAN
        auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        auto features = Ort::Value::CreateTensor<float>(memory, row.data(), row.size(), shape.data(), shape.size());
        const char* input = "features";
        const char* outputs[] = {"score", "is_anomaly"};
        for (;;) {
            for (std::size_t i = 0; i < width; ++i) {
                if (std::scanf("%f%*[, ]", &row[i]) != 1) return i != 0;
            }
            auto found = session.Run(Ort::RunOptions{nullptr}, &input, &features, 1, outputs, 2);
            std::printf("%.9g %d\n", *found[0].GetTensorData<float>(), *found[1].GetTensorData<bool>());
        }
    } catch (const Ort::Exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
