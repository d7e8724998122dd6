// score DETECTOR.onnx < rows: lines of numbers on stdin, commas or spaces between; score and verdict of each on stdout.
// Not compiled with ONNX Runtime in CI: see examples/README.md.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include <onnxruntime_cxx_api.h>

// The numbers of a line; nothing but numbers may stand in it.
static bool read_row(const std::string& line, std::vector<float>& row) {
    row.clear();
    const char* blanks = " \t\r";
    std::size_t at = line.find_first_not_of(blanks);
    while (at != std::string::npos) {
        char* end;
        row.push_back(std::strtof(line.c_str() + at, &end));
        const std::size_t stop = static_cast<std::size_t>(end - line.c_str());
        if (stop == at) return false;
        at = line.find_first_not_of(blanks, stop);
        if (at != std::string::npos && line[at] == ',') {
            at = line.find_first_not_of(blanks, at + 1);
            if (at == std::string::npos) return false;  // nothing stands after the last comma
        } else if (at == stop) {
            return false;
        }
    }
    return true;
}

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

        std::vector<float> row;  // raw units: scaling is inside the graph; a missing value is nan
        auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const char* input = "features";
        const char* outputs[] = {"score", "is_anomaly"};
        std::string line;
        for (long number = 1; std::getline(std::cin, line); ++number) {
            if (!read_row(line, row)) {
                std::fprintf(stderr, "line %ld: only numbers expected\n", number);
                return 1;
            }
            if (row.empty()) continue;  // an empty line
            if (row.size() != width) {
                std::fprintf(stderr, "line %ld: %zu numbers expected, found %zu\n", number, width, row.size());
                return 1;
            }
            auto features = Ort::Value::CreateTensor<float>(memory, row.data(), row.size(), shape.data(), shape.size());
            auto found = session.Run(Ort::RunOptions{nullptr}, &input, &features, 1, outputs, 2);
            std::printf("%.9g %d\n", *found[0].GetTensorData<float>(), *found[1].GetTensorData<bool>());
        }
    } catch (const Ort::Exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
