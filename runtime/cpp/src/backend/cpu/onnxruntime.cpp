// ONNX Runtime on the CPU. Its library is loaded at run time; one session serves all threads.
#define ORT_API_MANUAL_INIT  // the API is asked of the library that was loaded, not of one that was linked
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <thread>

#include "artifact/self_contained.h"
#include "backend/backend.h"
#include "backend/cpu/same_graph.h"
#include "backend/shared_library.h"
#include "error.h"
#include "image/preprocess.h"

namespace deepvit {
namespace {

constexpr char kRemedy[] =
    "ONNX Runtime 1.21 or newer is needed: put libonnxruntime.so.1 on the loader's path or name it in "
    "options.onnxruntime_library; pip's onnxruntime carries it in onnxruntime/capi";

// Loads ONNX Runtime once for the process, whichever path came first: its API is one global in its own header. Gives
// its version.
std::string use_library(const std::string& path) {
  static std::mutex mutex;
  static const SharedLibrary* loaded = nullptr;
  static std::string version;
  const std::lock_guard<std::mutex> lock(mutex);
  if (loaded != nullptr) {
    if (!path.empty() && path != loaded->name()) {
      throw invalid_argument("ONNX Runtime is loaded from " + loaded->name() + " already; a process has one");
    }
    return version;
  }
  auto library = std::make_unique<SharedLibrary>(
      path, std::vector<std::string>{"libonnxruntime.so.1", "libonnxruntime.so"}, kRemedy);
  const OrtApiBase* base = library->function<const OrtApiBase * ORT_API_CALL()>("OrtGetApiBase")();
  const OrtApi* api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) {
    throw missing(library->name() + " is ONNX Runtime " + base->GetVersionString() + ", which is too old; " + kRemedy);
  }
  Ort::InitApi(api);
  version = base->GetVersionString();
  loaded = library.release();
  return version;
}

Ort::Env* make_environment() {
  auto* env = new Ort::Env(ORT_LOGGING_LEVEL_FATAL, "deepvit");
  env->DisableTelemetryEvents();  // what runs here is nobody else's business, and its queue grows with every session
  return env;
}

// One environment for the process, as ONNX Runtime wants it; never freed, as the library is never unloaded.
Ort::Env& environment() {
  static Ort::Env* env = make_environment();
  return *env;
}

std::string first_line(const char* text) {
  const std::string all(text);
  return all.substr(0, all.find('\n')).substr(0, 300);
}

Ort::SessionOptions session_options(const Manifest& manifest, const Options& options) {
  Ort::SessionOptions session;
  session.SetLogSeverityLevel(ORT_LOGGING_LEVEL_FATAL);
  const unsigned cores = std::max(std::thread::hardware_concurrency(), 1u);
  session.SetIntraOpNumThreads(options.threads > 0 ? options.threads : static_cast<int>(cores));
  session.SetExecutionMode(ORT_SEQUENTIAL);
  // Its rewrites of Q/DQ nodes would refuse FP8 and make other answers of weights alone; see runtime/ort/demands.py.
  const bool is_unfused = manifest.precision == "fp8" || manifest.is_weight_only;
  if (is_unfused) session.AddConfigEntry("session.disable_quant_qdq", "1");
  return session;
}

class OnnxRuntime final : public Backend {
 public:
  OnnxRuntime(const Artifact& artifact, const Options& options, std::string version)
      : version_(std::move(version)),
        manifest_(artifact.manifest()),
        name_(artifact.path("model.onnx")),
        memory_(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault)) {
    const Bytes model = artifact.read("model.onnx");
    require_self_contained(model.data(), model.size(), name_);
    try {
      session_ = Ort::Session(environment(), model.data(), model.size(), session_options(manifest_, options));
    } catch (const Ort::Exception& error) {
      if (error.GetOrtErrorCode() == ORT_NOT_IMPLEMENTED && manifest_.precision == "bf16") {
        throw missing(name_ +
                      " computes in BF16, which ONNX Runtime's CPU provider does not: export with --fp16 or "
                      "--fp32 for a CPU, name OpenVINO's library where the processor has BF16, or build an engine");
      }
      throw invalid_artifact(name_ + " is not a model that ONNX Runtime can load: " + first_line(error.what()));
    }
    require_same_graph(artifact, model);
    require(session_.GetInputCount() == 1 && session_.GetOutputCount() >= 1, "its number of inputs and outputs");
    require_tensor(session_.GetInputTypeInfo(0), manifest_.input, "input");
    require_tensor(session_.GetOutputTypeInfo(0), manifest_.output, "output");
    Ort::AllocatorWithDefaultOptions allocator;
    input_name_ = session_.GetInputNameAllocated(0, allocator).get();
    output_name_ = session_.GetOutputNameAllocated(0, allocator).get();
    const std::int64_t fixed = session_.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape()[0];
    const auto only = static_cast<std::size_t>(std::max<std::int64_t>(fixed, 0));
    batch_ = fixed > 0 ? BatchRange{only, only, only} : manifest_.batch;
  }

  std::string description() const override { return "ONNX Runtime " + version_ + " on the CPU"; }

  BatchRange batch() const override { return batch_; }

  std::size_t at_once() const override { return 1; }

  std::unique_ptr<Run> begin(const void* input, std::size_t count) override {
    return std::make_unique<EndedRun>(count * manifest_.classes, [&](float* logits) { run(input, count, logits); });
  }

 private:
  void run(const void* input, std::size_t count, float* logits) {
    auto shape = manifest_.input.shape;
    shape[0] = static_cast<std::int64_t>(count);
    const std::size_t bytes = count * input_bytes(manifest_.preprocess);
    const std::array<std::int64_t, 2> output_shape{shape[0], static_cast<std::int64_t>(manifest_.classes)};
    const char* input_names[] = {input_name_.c_str()};
    const char* output_names[] = {output_name_.c_str()};
    try {
      const Ort::Value images = Ort::Value::CreateTensor(
          memory_, const_cast<void*>(input), bytes, shape.data(), shape.size(),
          manifest_.input.is_uint8 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
      Ort::Value answer = Ort::Value::CreateTensor<float>(memory_, logits, count * manifest_.classes,
                                                          output_shape.data(), output_shape.size());
      session_.Run(Ort::RunOptions(), input_names, &images, 1, output_names, &answer, 1);
    } catch (const Ort::Exception& error) {
      throw device_failed(name_ + " failed on " + std::to_string(count) + " images: " + first_line(error.what()));
    }
  }

  void require(bool is_met, const std::string& what) const {
    if (!is_met) throw invalid_artifact(name_ + " does not have " + what + " from its manifest; export again");
  }

  // Type and every dimension but the batch.
  void require_tensor(const Ort::TypeInfo& info, const Tensor& tensor, const std::string& what) const {
    require(info.GetONNXType() == ONNX_TYPE_TENSOR, "a tensor as " + what);
    const auto found = info.GetTensorTypeAndShapeInfo();
    const auto type = tensor.is_uint8 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    const auto shape = found.GetShape();
    require(found.GetElementType() == type && shape.size() == tensor.shape.size() &&
                std::equal(shape.begin() + 1, shape.end(), tensor.shape.begin() + 1),
            "the " + what);
  }

  std::string version_;
  const Manifest& manifest_;
  std::string name_;
  Ort::MemoryInfo memory_;
  Ort::Session session_{nullptr};
  std::string input_name_;
  std::string output_name_;
  BatchRange batch_;
};

}  // namespace

std::unique_ptr<Backend> open_onnxruntime(const Artifact& artifact, const Options& options) {
  std::string version = use_library(options.onnxruntime_library);
  return std::make_unique<OnnxRuntime>(artifact, options, std::move(version));
}

}  // namespace deepvit
