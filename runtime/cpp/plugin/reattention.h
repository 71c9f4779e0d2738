// The layer: qkv (B, N, 3, H, d) in FP16 or BF16, theta (H, H), bias (H) and channels (3, H, d) in float32 → (B, M,
// H·d) of qkv's type.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "driver.h"
#include "kernels.h"

namespace reattention {

constexpr char kName[] = "ReAttention";
constexpr char kVersion[] = "1";
constexpr char kNamespace[] = "deepvit";

class ReAttention final : public nvinfer1::IPluginV3,
                          public nvinfer1::IPluginV3OneCore,
                          public nvinfer1::IPluginV3OneBuild,
                          public nvinfer1::IPluginV3OneRuntime {
 public:
  // `scale` of the scores; of the N tokens stored the first `tokens` are keys, and the first `queries` are queries.
  ReAttention(float scale, int tokens, int queries);
  ReAttention(const ReAttention& other);

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;
  nvinfer1::IPluginV3* clone() noexcept override;

  const char* getPluginName() const noexcept override { return kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

  int getNbOutputs() const noexcept override { return 1; }
  int getOutputDataTypes(nvinfer1::DataType* out, int outputs, const nvinfer1::DataType* in,
                         int inputs) const noexcept override;
  int getOutputShapes(const nvinfer1::DimsExprs* in, int inputs, const nvinfer1::DimsExprs* shapes, int shape_inputs,
                      nvinfer1::DimsExprs* out, int outputs, nvinfer1::IExprBuilder& builder) noexcept override;
  bool supportsFormatCombination(int position, const nvinfer1::DynamicPluginTensorDesc* tensors, int inputs,
                                 int outputs) noexcept override;
  // A shape, type or GPU without a kernel is refused here, by its name.
  int configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in, int inputs,
                      const nvinfer1::DynamicPluginTensorDesc* out, int outputs) noexcept override;
  // A tactic's number is its kernel's rows a block.
  int getNbTactics() noexcept override { return int(kernels_.size()); }
  int getValidTactics(int* tactics, int count) noexcept override;
  const char* getTimingCacheID() noexcept override { return timing_id_.c_str(); }

  int setTactic(int tactic) noexcept override;
  int onShapeChange(const nvinfer1::PluginTensorDesc* in, int inputs, const nvinfer1::PluginTensorDesc* out,
                    int outputs) noexcept override;
  int enqueue(const nvinfer1::PluginTensorDesc* in, const nvinfer1::PluginTensorDesc* out, const void* const* inputs,
              void* const* outputs, void* workspace, cudaStream_t stream) noexcept override;
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

 private:
  const float scale_;
  const int tokens_;
  const int queries_;
  const std::string timing_id_;
  int tactic_ = 0;
  std::vector<const Kernel*> kernels_;  // one for each tactic, once configured

  // Of the shape that comes next.
  const Cubin* cubin_ = nullptr;
  const Kernel* kernel_ = nullptr;

  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace reattention
