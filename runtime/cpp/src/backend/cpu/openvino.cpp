// OpenVINO on the CPU. Its library is loaded at run time; a compiled model serves all threads.
//
// It computes in BF16 by default where the processor has it, also what a file declares as FP32. So the arithmetic is
// always said: BF16 for graphs of BF16, FP32 for all others; runtime/openvino/session.py does the same.
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "artifact/self_contained.h"
#include "backend/backend.h"
#include "backend/cpu/openvino_api.h"
#include "backend/cpu/same_graph.h"
#include "error.h"
#include "image/preprocess.h"

namespace deepvit {
namespace {

using openvino::Api;
using openvino::Compiled;
using openvino::Core;
using openvino::Graph;
using openvino::Owned;
using openvino::PartialShape;
using openvino::Port;
using openvino::Request;
using openvino::Status;
using OvTensor = openvino::Tensor;  // the manifest has a Tensor

constexpr char kCpu[] = "CPU";
constexpr char kHint[] = "INFERENCE_PRECISION_HINT";
constexpr char kActivationGroups[] = "DYNAMIC_QUANTIZATION_GROUP_SIZE";  // 0: activations are not rounded to eight bits

std::string version_of(const Api& api) {
  openvino::Version version{};
  if (api.get_openvino_version(&version) != 0) throw missing(api.library.name() + " does not say its version");
  const std::string number = version.number;
  api.version_free(&version);
  return number.substr(0, number.find('-'));
}

Owned<Core> core_of(const Api& api) {
  Core* core = nullptr;
  if (api.core_create(&core) != 0) throw missing(api.library.name() + " cannot be used: " + api.reason());
  return {core, {api.core_free}};
}

class OpenVino final : public Backend {
 public:
  OpenVino(const Artifact& artifact, const Options& options)
      : api_(options.openvino_library),
        manifest_(artifact.manifest()),
        name_(artifact.path("model.onnx")),
        core_(core_of(api_)) {
    const Bytes model = artifact.read("model.onnx");
    require_self_contained(model.data(), model.size(), name_);
    require_same_graph(artifact, model);
    compile(model, options.threads);
    require_arithmetic();
    require_signature();
  }

  std::string description() const override {
    return "OpenVINO " + version_of(api_) + " on the CPU in " + (arithmetic_ == "bf16" ? "BF16" : "FP32");
  }

  BatchRange batch() const override { return batch_; }

  std::size_t at_once() const override { return 1; }

  std::unique_ptr<Run> begin(const void* input, std::size_t count) override {
    return std::make_unique<EndedRun>(count * manifest_.classes, [&](float* logits) { run(input, count, logits); });
  }

 private:
  const char* asked() const { return manifest_.precision == "bf16" ? "bf16" : "f32"; }

  void compile(const Bytes& model, int threads) {
    Graph* read = nullptr;
    require_loaded(api_.core_read_model_from_memory_buffer(core_.get(), reinterpret_cast<const char*>(model.data()),
                                                           model.size(), nullptr, &read));
    const Owned<Graph> graph(read, {api_.model_free});
    const std::string number = std::to_string(threads);
    // Keys and values. Programs that share the cores would each pin their threads to the first of them.
    const std::size_t arguments = threads > 0 ? 10 : 6;
    Compiled* compiled = nullptr;
    require_loaded(api_.core_compile_model(core_.get(), graph.get(), kCpu, arguments, &compiled, "PERFORMANCE_HINT",
                                           "LATENCY", kHint, asked(), kActivationGroups, "0", "INFERENCE_NUM_THREADS",
                                           number.c_str(), "ENABLE_CPU_PINNING", "NO"));
    compiled_ = {compiled, {api_.compiled_model_free}};
  }

  void require_arithmetic() {
    arithmetic_ = property(kHint);
    if (arithmetic_ != asked() && !(arithmetic_ == "f32" && asked() == std::string("bf16"))) {
      throw missing("OpenVINO " + version_of(api_) + " computes " + name_ + " in " + arithmetic_ + " here, where " +
                    asked() + " was asked for; use ONNX Runtime");
    }
    if (property(kActivationGroups) != "0") {
      throw missing("OpenVINO " + version_of(api_) + " rounds activations of " + name_ +
                    " to eight bits, though told not to; use ONNX Runtime");
    }
  }

  std::string property(const char* name) {
    char* value = nullptr;
    require_loaded(api_.compiled_model_get_property(compiled_.get(), name, &value));
    return api_.text_from(value);
  }

  void require_signature() {
    std::size_t inputs = 0;
    require_loaded(api_.compiled_model_inputs_size(compiled_.get(), &inputs));
    require(inputs == 1, "its number of inputs");
    Port *input = nullptr, *output = nullptr;
    require_loaded(api_.compiled_model_input_by_index(compiled_.get(), 0, &input));
    const Owned<Port> input_port(input, {api_.output_const_port_free});
    require_loaded(api_.compiled_model_output_by_index(compiled_.get(), 0, &output));
    const Owned<Port> output_port(output, {api_.output_const_port_free});
    require_shape(output, manifest_.output.shape, "the output");
    const std::int64_t fixed = require_shape(input, manifest_.input.shape, "the input");
    const auto only = static_cast<std::size_t>(fixed);
    batch_ = fixed > 0 ? BatchRange{only, only, only} : manifest_.batch;
  }

  // Every dimension but the batch; gives that, 0 where it is any.
  std::int64_t require_shape(const Port* port, const std::vector<std::int64_t>& wanted, const char* what) const {
    PartialShape shape{};
    require_loaded(api_.port_get_partial_shape(port, &shape));
    const Owned<PartialShape> owned(&shape, {api_.partial_shape_free});
    const auto rank = static_cast<std::int64_t>(wanted.size());
    require(shape.rank.min == rank && shape.rank.max == rank, what);
    for (std::size_t i = 1; i < wanted.size(); ++i) {
      require(shape.dims[i].min == wanted[i] && shape.dims[i].max == wanted[i], what);
    }
    return shape.dims[0].min == shape.dims[0].max ? shape.dims[0].min : 0;
  }

  void run(const void* input, std::size_t count, float* logits) {
    Owned<Request> request = take_request();
    const Owned<OvTensor> images = tensor_of(request.get(), api_.infer_request_get_input_tensor_by_index);
    std::vector<std::int64_t> shape = manifest_.input.shape;
    shape[0] = static_cast<std::int64_t>(count);
    require_run(api_.tensor_set_shape(images.get(), {static_cast<std::int64_t>(shape.size()), shape.data()}), count);
    const std::size_t bytes = count * input_bytes(manifest_.preprocess);
    std::memcpy(data_of(images.get(), bytes, "the input"), input, bytes);
    require_run(api_.infer_request_infer(request.get()), count);
    const Owned<OvTensor> answer = tensor_of(request.get(), api_.infer_request_get_output_tensor_by_index);
    const std::size_t answer_bytes = count * manifest_.classes * sizeof(float);
    std::memcpy(logits, data_of(answer.get(), answer_bytes, "the output"), answer_bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(request));
  }

  Owned<Request> take_request() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!idle_.empty()) {
        Owned<Request> request = std::move(idle_.back());
        idle_.pop_back();
        return request;
      }
    }
    Request* request = nullptr;
    require_run(api_.compiled_model_create_infer_request(compiled_.get(), &request), 0);
    return {request, {api_.infer_request_free}};
  }

  Owned<OvTensor> tensor_of(const Request* request, Status (*get)(const Request*, std::size_t, OvTensor**)) const {
    OvTensor* tensor = nullptr;
    require_run(get(request, 0, &tensor), 0);
    return {tensor, {api_.tensor_free}};
  }

  // Where a tensor's values are; of `bytes` bytes, which also tells float32 from uint8.
  void* data_of(const OvTensor* tensor, std::size_t bytes, const char* what) const {
    std::size_t found = 0;
    void* data = nullptr;
    require_run(api_.tensor_get_byte_size(tensor, &found), 0);
    require(found == bytes, what);
    require_run(api_.tensor_data(tensor, &data), 0);
    return data;
  }

  void require(bool is_met, const std::string& what) const {
    if (!is_met) throw invalid_artifact(name_ + " does not have " + what + " from its manifest; export again");
  }

  void require_loaded(Status status) const {
    if (status == 0) return;
    throw invalid_artifact(name_ + " is not a model that OpenVINO can load: " + api_.reason());
  }

  void require_run(Status status, std::size_t count) const {
    if (status != 0) throw device_failed(name_ + " failed on " + std::to_string(count) + " images: " + api_.reason());
  }

  const Api api_;
  const Manifest& manifest_;
  std::string name_;
  Owned<Core> core_;
  Owned<Compiled> compiled_{nullptr, {}};
  std::string arithmetic_;  // that it computes in: bf16 or f32
  BatchRange batch_;
  std::mutex mutex_;
  std::vector<Owned<Request>> idle_;  // one for each thread that ran at once
};

}  // namespace

bool has_bfloat16(const Options& options) {
  const Api api(options.openvino_library);
  const Owned<Core> core = core_of(api);
  char* value = nullptr;
  if (api.core_get_property(core.get(), kCpu, "OPTIMIZATION_CAPABILITIES", &value) != 0) return false;
  return api.text_from(value).find("BF16") != std::string::npos;
}

std::unique_ptr<Backend> open_openvino(const Artifact& artifact, const Options& options) {
  return std::make_unique<OpenVino>(artifact, options);
}

}  // namespace deepvit
