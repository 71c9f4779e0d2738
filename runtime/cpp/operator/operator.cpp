// deepvit::ReAttention as an operator of ONNX Runtime's CUDA provider, with the kernels that TensorRT's plugin has.
// Registered, it is taken in the place of the node's body in the file, which has the shapes of all tensors.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "driver.h"

#ifndef DEEPVIT_PROVIDER
#define DEEPVIT_PROVIDER "CUDAExecutionProvider"
#endif

namespace reattention {
namespace {

constexpr double kLog2E = 1.4426950408889634;
constexpr std::int64_t kMostBatch = 65535;  // blocks of a grid's second dimension
constexpr std::int64_t kBlocksOfGpu = 128;  // about as many as a large GPU runs at once
constexpr const char* kInputs[] = {"qkv", "theta", "bias", "channels"};
using Sizes = std::vector<std::int64_t>;

void require(bool is_met, const std::string& fault) {
  if (!is_met) throw std::runtime_error(fault);
}

template <class Action>
OrtStatus* guarded(const Action& action) {
  try {
    action();
    return nullptr;
  } catch (const std::exception& error) {
    return Ort::GetApi().CreateStatus(ORT_FAIL, (std::string("deepvit::ReAttention: ") + error.what()).c_str());
  }
}

std::string text_of(const Sizes& sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "(" + text + ")";
}

void require_sizes(const char* name, const Sizes& found, const Sizes& expected) {
  require(found == expected, std::string(name) + " is " + text_of(found) + ", expected " + text_of(expected));
}

// The kernel of more rows, which reads k and v less often, where its blocks fill a GPU all the same.
const Kernel& chosen(const std::vector<const Kernel*>& kernels, std::int64_t queries, std::int64_t batch) {
  const Kernel& last = *kernels.back();
  const std::int64_t blocks = (queries + last.rows - 1) / last.rows * batch;
  return blocks < kBlocksOfGpu ? *kernels.front() : last;
}

class Node {
 public:
  Node(const OrtKernelInfo* raw, bool is_bf16) : is_bf16_(is_bf16) {
    const Ort::ConstKernelInfo info(raw);
    scale_ = info.GetAttribute<float>("scale");
    tokens_ = info.GetAttribute<std::int64_t>("tokens");
    queries_ = info.GetAttribute<std::int64_t>("queries");
    const bool are_positive = scale_ > 0 && tokens_ > 0 && queries_ > 0;
    require(std::isfinite(scale_) && are_positive, "scale, tokens and queries are not all above 0");
  }

  OrtStatusPtr ComputeV2(OrtKernelContext* raw) {
    return guarded([&] { run(Ort::KernelContext(raw)); });
  }

 private:
  void run(const Ort::KernelContext& context) const {
    Sizes sizes[std::size(kInputs)];
    const void* data[std::size(kInputs)];
    for (std::size_t i = 0; i < std::size(kInputs); ++i) {
      const Ort::ConstValue input = context.GetInput(i);
      sizes[i] = input.GetTensorTypeAndShapeInfo().GetShape();
      data[i] = input.GetTensorRawData();
    }
    const Sizes& qkv = sizes[0];
    require(qkv.size() == 5 && qkv[2] == 3, "qkv is " + text_of(qkv) + ", expected (B, N, 3, H, d)");
    const std::int64_t batch = qkv[0], stored = qkv[1], heads = qkv[3], width = qkv[4];
    const std::int64_t least = std::max(tokens_, queries_);
    require(stored >= least, "qkv stores " + std::to_string(stored) + " tokens, expected " + std::to_string(least));
    require(batch <= kMostBatch, "a batch of " + std::to_string(batch) + ", expected at most 65535");
    require_sizes("theta", sizes[1], {heads, heads});
    require_sizes("bias", sizes[2], {heads});
    require_sizes("channels", sizes[3], {3, heads, width});

    const Shape shape{is_bf16_, int(heads), int(width), int(tokens_)};
    Driver& driver = Driver::of_process();
    const auto [major, minor] = driver.compute_capability();
    const std::string gpu = " for compute capability " + std::to_string(major) + "." + std::to_string(minor);
    const Cubin* cubin = cubin_for(major, minor);
    require(cubin != nullptr, "no kernels" + gpu + " are in this library");
    const auto kernels = kernels_for(shape, cubin);
    require(!kernels.empty(), "no kernel for " + shape.text() + gpu + " is in this library");

    Ort::UnownedValue out = context.GetOutput(0, Sizes{batch, queries_, heads * width});
    if (batch == 0) return;
    const Arguments arguments{data[0],   out.GetTensorMutableRawData(),  data[1],     data[2],
                              data[3],   float(double(scale_) * kLog2E), int(stored), int(queries_),
                              int(batch)};
    const auto stream = static_cast<CUstream>(context.GetGPUComputeStream());
    driver.launch(*cubin, chosen(kernels, queries_, batch), arguments, stream);
  }

  const bool is_bf16_;
  float scale_ = 0;
  std::int64_t tokens_ = 0;
  std::int64_t queries_ = 0;
};

struct Operator : Ort::CustomOpBase<Operator, Node, true> {
  explicit Operator(ONNXTensorElementDataType type) : type_(type) {}

  const char* GetName() const { return "ReAttention"; }
  const char* GetExecutionProviderType() const { return DEEPVIT_PROVIDER; }
  std::size_t GetInputTypeCount() const { return std::size(kInputs); }
  std::size_t GetOutputTypeCount() const { return 1; }
  ONNXTensorElementDataType GetInputType(std::size_t i) const {
    return i == 0 ? type_ : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }
  ONNXTensorElementDataType GetOutputType(std::size_t) const { return type_; }

  OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info, void** node) const {
    return guarded([&] { *node = new Node(info, type_ == ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16); });
  }

 private:
  const ONNXTensorElementDataType type_;
};

}  // namespace
}  // namespace reattention

// By this name ONNX Runtime finds it. Nothing here is destroyed: sessions may outlive whatever a process ends with.
extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                               const OrtApiBase* base) {
  using namespace reattention;
  const OrtApi* api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) return base->GetApi(1)->CreateStatus(ORT_FAIL, "deepvit::ReAttention needs a newer ONNX Runtime");
  Ort::InitApi(api);
  return guarded([&] {
    static auto& domain = *new Ort::CustomOpDomain("deepvit");
    static const bool is_filled = [] {
      domain.Add(new Operator(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16));
      domain.Add(new Operator(ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16));
      return true;
    }();
    static_cast<void>(is_filled);
    Ort::UnownedSessionOptions(options).Add(domain);
  });
}
