#include "reattention.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "log.h"

namespace reattention {

using namespace nvinfer1;

namespace {

constexpr double kLog2E = 1.4426950408889634;
constexpr int kInputs = 4;
constexpr int kMostBatch = 65535;  // blocks of a grid's second dimension

void require(bool is_met, const std::string& fault) {
  if (!is_met) throw std::runtime_error(fault);
}

std::string text_of(const Dims& dims) {
  std::string text;
  for (int i = 0; i < dims.nbDims; ++i) text += (i == 0 ? "" : ", ") + std::to_string(dims.d[i]);
  return "(" + text + ")";
}

void require_inputs(int inputs) {
  require(inputs == kInputs, "it has " + std::to_string(inputs) + " inputs, expected qkv, theta, bias and channels");
}

bool is_16_bits(DataType type) { return type == DataType::kHALF || type == DataType::kBF16; }

// What a kernel is chosen by; throws std::runtime_error unless the inputs' shapes belong together.
Shape shape_of(const PluginTensorDesc* in, int tokens, int queries) {
  const Dims &qkv = in[0].dims, &theta = in[1].dims, &bias = in[2].dims, &channels = in[3].dims;
  const bool is_qkv = qkv.nbDims == 5 && qkv.d[2] == 3 && qkv.d[3] > 0 && qkv.d[4] > 0;
  require(is_qkv, "qkv is " + text_of(qkv) + ", expected (B, N, 3, H, d) with H and d known");
  const std::int64_t heads = qkv.d[3];
  const bool is_mix = theta.nbDims == 2 && theta.d[0] == heads && theta.d[1] == heads;
  require(is_mix && bias.nbDims == 1 && bias.d[0] == heads, "theta is " + text_of(theta) + " and bias " +
                                                                text_of(bias) + ", expected (H, H) and (H) of " +
                                                                std::to_string(heads) + " heads");
  const bool are_three = channels.nbDims == 3 && channels.d[0] == 3;
  require(are_three && channels.d[1] == heads && channels.d[2] == qkv.d[4],
          "channels is " + text_of(channels) + ", expected (3, H, d) of qkv, " + text_of(qkv));
  const int least = std::max(tokens, queries);
  const bool are_stored = qkv.d[1] < 0 || qkv.d[1] >= least;
  require(are_stored, "qkv stores " + std::to_string(qkv.d[1]) + " tokens, expected " + std::to_string(least));
  return {in[0].type == DataType::kBF16, int(heads), int(qkv.d[4]), tokens};
}

struct Gpu {
  const Cubin* cubin = nullptr;
  std::string name = "every kind of GPU";
};

Gpu gpu_of_thread() {
  const auto [major, minor] = Driver::of_process().compute_capability();
  const std::string name = "GPUs of compute capability " + std::to_string(major) + "." + std::to_string(minor);
  const Cubin* cubin = cubin_for(major, minor);
  require(cubin != nullptr, "no kernels for " + name + " are in this library");
  return {cubin, name};
}

// Where there is none an engine is built for another machine, which may have any.
Gpu gpu_to_build_for() {
  try {
    Driver::of_process().compute_capability();
  } catch (const std::runtime_error&) {
    return {};
  }
  return gpu_of_thread();
}

std::vector<const Kernel*> required_kernels(const Shape& shape, const Gpu& gpu) {
  auto found = kernels_for(shape, gpu.cubin);
  require(!found.empty(), "no kernel for " + shape.text() + " on " + gpu.name + " is in this library");
  return found;
}

}  // namespace

ReAttention::ReAttention(float scale, int tokens, int queries)
    : scale_(scale),
      tokens_(tokens),
      queries_(queries),
      timing_id_(std::string(kKernelsSha256) + "/" + std::to_string(tokens) + "/" + std::to_string(queries)) {}

ReAttention::ReAttention(const ReAttention& other)
    : IPluginV3(),
      IPluginV3OneCore(),
      IPluginV3OneBuild(),
      IPluginV3OneRuntime(),
      scale_(other.scale_),
      tokens_(other.tokens_),
      queries_(other.queries_),
      timing_id_(other.timing_id_),
      tactic_(other.tactic_),
      kernels_(other.kernels_),
      cubin_(other.cubin_),
      kernel_(other.kernel_) {}

IPluginCapability* ReAttention::getCapabilityInterface(PluginCapabilityType type) noexcept {
  switch (type) {
    case PluginCapabilityType::kCORE:
      return static_cast<IPluginV3OneCore*>(this);
    case PluginCapabilityType::kBUILD:
      return static_cast<IPluginV3OneBuild*>(this);
    case PluginCapabilityType::kRUNTIME:
      return static_cast<IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

IPluginV3* ReAttention::clone() noexcept {
  return guarded<IPluginV3*>(nullptr, [&] { return new ReAttention(*this); });
}

int ReAttention::getOutputDataTypes(DataType* out, int, const DataType* in, int inputs) const noexcept {
  return guarded(1, [&] {
    require_inputs(inputs);
    require(is_16_bits(in[0]), "qkv is neither FP16 nor BF16");
    const bool are_wide = std::all_of(in + 1, in + inputs, [](DataType type) { return type == DataType::kFLOAT; });
    require(are_wide, "theta, bias and channels are not all float32");
    out[0] = in[0];
    return 0;
  });
}

int ReAttention::getOutputShapes(const DimsExprs* in, int inputs, const DimsExprs*, int, DimsExprs* out, int,
                                 IExprBuilder& builder) noexcept {
  return guarded(1, [&] {
    require_inputs(inputs);
    require(in[0].nbDims == 5, "qkv has " + std::to_string(in[0].nbDims) + " dimensions, expected (B, N, 3, H, d)");
    out[0].nbDims = 3;
    out[0].d[0] = in[0].d[0];
    out[0].d[1] = builder.constant(queries_);
    out[0].d[2] = builder.operation(DimensionOperation::kPROD, *in[0].d[3], *in[0].d[4]);
    return 0;
  });
}

bool ReAttention::supportsFormatCombination(int position, const DynamicPluginTensorDesc* tensors, int inputs,
                                            int outputs) noexcept {
  if (inputs != kInputs || outputs != 1 || position < 0 || position > kInputs) return false;
  const PluginTensorDesc& own = tensors[position].desc;
  if (own.format != TensorFormat::kLINEAR) return false;
  if (position == 0) return is_16_bits(own.type);
  return own.type == (position == kInputs ? tensors[0].desc.type : DataType::kFLOAT);
}

int ReAttention::configurePlugin(const DynamicPluginTensorDesc* in, int, const DynamicPluginTensorDesc*, int) noexcept {
  return guarded(1, [&] {
    kernels_.clear();
    const PluginTensorDesc tensors[] = {in[0].desc, in[1].desc, in[2].desc, in[3].desc};
    const Shape shape = shape_of(tensors, tokens_, queries_);
    require(in[0].max.d[0] <= kMostBatch, "a batch of " + std::to_string(in[0].max.d[0]) + ", expected at most 65535");
    kernels_ = required_kernels(shape, gpu_to_build_for());
    return 0;
  });
}

int ReAttention::getValidTactics(int* tactics, int count) noexcept {
  if (count != getNbTactics()) return 1;
  for (const Kernel* each : kernels_) *tactics++ = each->rows;
  return 0;
}

int ReAttention::setTactic(int tactic) noexcept {
  tactic_ = tactic;
  kernel_ = nullptr;
  return 0;
}

int ReAttention::onShapeChange(const PluginTensorDesc* in, int, const PluginTensorDesc*, int) noexcept {
  return guarded(1, [&] {
    kernel_ = nullptr;
    const Shape shape = shape_of(in, tokens_, queries_);
    require(in[0].dims.d[0] <= kMostBatch,
            "a batch of " + std::to_string(in[0].dims.d[0]) + ", expected at most 65535");
    const Gpu gpu = gpu_of_thread();
    const Kernel* chosen = nullptr;
    for (const Kernel* each : required_kernels(shape, gpu)) {
      if (each->rows == tactic_) chosen = each;
    }
    require(chosen != nullptr, "no kernel of " + std::to_string(tactic_) + " rows a block for " + shape.text() +
                                   " on " + gpu.name + " is in this library");
    Driver::of_process().function(*gpu.cubin, *chosen);  // loaded now, for a stream that is recorded may load nothing
    cubin_ = gpu.cubin;
    kernel_ = chosen;
    return 0;
  });
}

int ReAttention::enqueue(const PluginTensorDesc* in, const PluginTensorDesc*, const void* const* inputs,
                         void* const* outputs, void*, cudaStream_t stream) noexcept {
  return guarded(1, [&] {
    require(kernel_ != nullptr, "no kernel was chosen for this shape");
    const auto addresses = reinterpret_cast<std::uintptr_t>(inputs[0]) | reinterpret_cast<std::uintptr_t>(outputs[0]);
    require(addresses % 16 == 0, "qkv or the output is not aligned to 16 bytes");
    const Arguments arguments{inputs[0],
                              outputs[0],
                              inputs[1],
                              inputs[2],
                              inputs[3],
                              float(double(scale_) * kLog2E),
                              int(in[0].dims.d[1]),
                              queries_,
                              int(in[0].dims.d[0])};
    Driver::of_process().launch(*cubin_, *kernel_, arguments, reinterpret_cast<CUstream>(stream));
    return 0;
  });
}

IPluginV3* ReAttention::attachToContext(IPluginResourceContext*) noexcept { return clone(); }

const PluginFieldCollection* ReAttention::getFieldsToSerialize() noexcept {
  return guarded<const PluginFieldCollection*>(nullptr, [&] {
    const auto length = int(std::char_traits<char>::length(kKernelsSha256));
    fields_ = {PluginField("scale", &scale_, PluginFieldType::kFLOAT32, 1),
               PluginField("tokens", &tokens_, PluginFieldType::kINT32, 1),
               PluginField("queries", &queries_, PluginFieldType::kINT32, 1),
               PluginField("kernels", kKernelsSha256, PluginFieldType::kCHAR, length)};
    collection_ = {int(fields_.size()), fields_.data()};
    return &collection_;
  });
}

}  // namespace reattention
