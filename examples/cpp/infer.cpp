// Prints the predictions of a file of xecgnn-export, event by event as in an analyzer: infer MODEL.onnx [EVENTS.bin]
//
// EVENTS.bin holds native float32, event after event: npho[S] in photons, then relative_time[S] in seconds, by sensor
// id. An invalid reading is NaN or 1e10. Without a file, one made-up event is predicted.

#include <onnxruntime_c_api.h>

#include <fstream>
#include <iostream>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

const OrtApi* const ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);  // null: the library is older than the header

/// An object of the C API with the function that releases it.
template <class T> using Owned = std::unique_ptr<T, void(ORT_API_CALL*)(T*)>;

/// The C API reports a failure as a status; here it becomes an exception.
void check(OrtStatus* status) {
    const Owned<OrtStatus> owned(status, ort->ReleaseStatus);
    if (status != nullptr) throw std::runtime_error(ort->GetErrorMessage(status));
}

/// The object that `create(arguments..., &object)` hands out.
template <class T, class Create, class... Arguments>
Owned<T> own(void(ORT_API_CALL* release)(T*), Create create, Arguments... arguments) {
    T* object = nullptr;
    check(create(arguments..., &object));
    return {object, release};
}

/// The text that `get(allocator, &text)` hands out; empty where there is none.
template <class Get>
std::string text(Get get) {
    OrtAllocator* allocator = nullptr;  // belongs to the library
    char* found = nullptr;
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(get(allocator, &found));
    const std::string copy = found ? found : "";
    if (found) check(ort->AllocatorFree(allocator, found));
    return copy;
}

/// The network: npho and relative_time (B, S) in, one float tensor (B, width) per output; here B = 1.
class Model {
public:
    explicit Model(const char* path)
        : session(own(ort->ReleaseSession, ort->CreateSession, environment.get(), path, options.get())) {
        if (property("input") != "raw") throw std::runtime_error("not a model that takes npho and relative_time");
        const auto type = own(ort->ReleaseTypeInfo, ort->SessionGetInputTypeInfo, session.get(), 0);
        const OrtTensorTypeAndShapeInfo* info = nullptr;  // belongs to `type`
        int64_t shape[2] = {};
        check(ort->CastTypeInfoToTensorInfo(type.get(), &info));
        check(ort->GetDimensions(info, shape, 2));
        sensors = static_cast<size_t>(shape[1]);
        size_t count = 0;
        check(ort->SessionGetOutputCount(session.get(), &count));
        for (size_t i = 0; i < count; ++i)
            outputs.push_back(text([&](auto... to) { return ort->SessionGetOutputName(session.get(), i, to...); }));
    }

    /// An entry of the file's metadata; empty where there is none.
    std::string property(const char* key) const {
        const auto metadata = own(ort->ReleaseModelMetadata, ort->SessionGetModelMetadata, session.get());
        return text([&](OrtAllocator* allocator, char** found) {
            return ort->ModelMetadataLookupCustomMetadataMap(metadata.get(), allocator, key, found);
        });
    }

    /// Values of every output for one event: npho[S], then relative_time[S].
    std::vector<std::vector<float>> predict(std::vector<float>& event) const {
        const char* const inputs[] = {"npho", "relative_time"};
        const auto npho = view(event.data()), relativeTime = view(event.data() + sensors);
        const OrtValue* const readings[] = {npho.get(), relativeTime.get()};
        std::vector<const char*> names;
        for (const auto& output : outputs) names.push_back(output.c_str());
        std::vector<OrtValue*> tensors(names.size());
        check(ort->Run(session.get(), nullptr, inputs, readings, 2, names.data(), names.size(), tensors.data()));
        std::vector<std::vector<float>> predictions;
        for (OrtValue* tensor : tensors) {
            const Owned<OrtValue> owned(tensor, ort->ReleaseValue);
            const auto info = own(ort->ReleaseTensorTypeAndShapeInfo, ort->GetTensorTypeAndShape, tensor);
            size_t size = 0;
            void* values = nullptr;  // belongs to the tensor
            check(ort->GetTensorShapeElementCount(info.get(), &size));
            check(ort->GetTensorMutableData(tensor, &values));
            predictions.emplace_back(static_cast<float*>(values), static_cast<float*>(values) + size);
        }
        return predictions;
    }

    size_t sensors = 0;
    std::vector<std::string> outputs;

private:
    Owned<OrtValue> view(float* readings) const {  // a tensor (1, S) on numbers that stay where they are
        const auto memory = own(ort->ReleaseMemoryInfo, ort->CreateCpuMemoryInfo, OrtArenaAllocator, OrtMemTypeDefault);
        const int64_t shape[] = {1, static_cast<int64_t>(sensors)};
        return own(ort->ReleaseValue, ort->CreateTensorWithDataAsOrtValue, memory.get(), readings,
                   sensors * sizeof(float), shape, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
    }

    Owned<OrtEnv> environment = own(ort->ReleaseEnv, ort->CreateEnv, ORT_LOGGING_LEVEL_ERROR, "xecgnn");
    Owned<OrtSessionOptions> options = own(ort->ReleaseSessionOptions, ort->CreateSessionOptions);
    Owned<OrtSession> session;
};

/// " rad" from {"angle": "rad", ...}; nothing where an output has no unit.
std::string unit(const std::string& units, const std::string& output) {
    std::smatch found;
    return std::regex_search(units, found, std::regex('"' + output + R"-(": "([^"]+)")-")) ? ' ' + found.str(1) : "";
}

int main(int argc, char** argv) try {
    if (argc < 2 || argc > 3) throw std::runtime_error("usage: infer MODEL.onnx [EVENTS.bin]");
    if (ort == nullptr) throw std::runtime_error("the library of ONNX Runtime is older than its header");
    const Model model(argv[1]);
    std::vector<float> event(model.sensors, 100.0F);  // the made-up one: the same light everywhere,
    event.resize(2 * model.sensors, 1e-8F);           // at the same time
    char* const bytes = reinterpret_cast<char*>(event.data());
    const auto size = static_cast<std::streamsize>(event.size() * sizeof(float));
    std::ifstream file;
    if (argc == 3) {
        file.open(argv[2], std::ios::binary | std::ios::ate);
        if (file.tellg() <= 0 || file.tellg() % size != 0)
            throw std::runtime_error(argv[2] + (" does not hold events of " + std::to_string(size) + " bytes"));
        file.seekg(0).read(bytes, size);
    }
    for (const char* key : {"detector", "detector_hash", "model_hash", "run_name", "run_id", "xecgnn_version"})
        std::cout << key << ": " << model.property(key) << '\n';
    const auto units = model.property("output_units");
    std::cout.precision(7);
    for (size_t number = 0; number == 0 || file.read(bytes, size); ++number) {
        const auto predictions = model.predict(event);
        std::cout << "event " << number;
        for (size_t i = 0; i < predictions.size(); ++i) {
            std::cout << (i ? ", " : ": ") << model.outputs[i] << " =";
            for (const float value : predictions[i]) std::cout << ' ' << value;
            std::cout << unit(units, model.outputs[i]);
        }
        std::cout << '\n';
    }
} catch (const std::exception& error) {
    std::cerr << "infer: " << std::regex_replace(error.what(), std::regex("\\s+"), " ") << '\n';
    return 1;
}
