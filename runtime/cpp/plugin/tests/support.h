// What the tests share: TensorRT's side of the layer.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>
#include <vector>

#include "fake_driver.h"
#include "reattention.h"

extern "C" nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& count);
extern "C" void setLoggerFinder(nvinfer1::ILoggerFinder* finder);

namespace support {

using namespace nvinfer1;
using reattention::ReAttention;

// Keeps every line that the layer logs, while it lives.
class Log final : public ILogger, public ILoggerFinder {
 public:
  Log() { setLoggerFinder(this); }
  ~Log() override { setLoggerFinder(nullptr); }
  ILogger* findLogger() override { return this; }
  void log(Severity severity, const char* line) noexcept override {
    if (severity == Severity::kERROR) lines.emplace_back(line);
  }
  bool says(const std::string& text) const {
    return lines.size() == 1 && lines[0].find(text) != std::string::npos && lines[0].find('\n') == std::string::npos;
  }
  std::vector<std::string> lines;
};

// The GPU here, of this compute capability, until the end of the block.
class Gpu {
 public:
  Gpu(int major, int minor) { set(major, minor); }
  ~Gpu() { set(9, 0); }

 private:
  static void set(int major, int minor) {
    fake_capability[0] = major;
    fake_capability[1] = minor;
  }
};

struct Problem {
  DataType type = DataType::kHALF;
  int batch = 8;
  int stored = 200;
  int heads = 12;
  int width = 32;
  int tokens = 197;
  int queries = 200;

  ReAttention layer() const { return {0.5F, tokens, queries}; }
};

class Tensors {
 public:
  explicit Tensors(const Problem& of, int batch = -1) {
    const int rows = batch > 0 ? batch : of.batch;
    desc[0] = {Dims{5, {rows, of.stored, 3, of.heads, of.width}}, of.type, TensorFormat::kLINEAR, 1};
    desc[1] = {Dims{2, {of.heads, of.heads}}, DataType::kFLOAT, TensorFormat::kLINEAR, 1};
    desc[2] = {Dims{1, {of.heads}}, DataType::kFLOAT, TensorFormat::kLINEAR, 1};
    desc[3] = {Dims{3, {3, of.heads, of.width}}, DataType::kFLOAT, TensorFormat::kLINEAR, 1};
    desc[4] = {Dims{3, {rows, of.queries, of.heads * of.width}}, of.type, TensorFormat::kLINEAR, 1};
    sync();
  }
  // The same with a batch that is known only when it runs.
  void sync() {
    for (int i = 0; i < 5; ++i) dynamic[i] = {desc[i], desc[i].dims, desc[i].dims, desc[i].dims};
    dynamic[0].desc.dims.d[0] = dynamic[4].desc.dims.d[0] = -1;
  }
  int configure(ReAttention& layer) const { return layer.configurePlugin(dynamic, 4, dynamic + 4, 1); }
  int change_shape(ReAttention& layer) const { return layer.onShapeChange(desc, 4, desc + 4, 1); }

  PluginTensorDesc desc[5];  // the last of the output
  DynamicPluginTensorDesc dynamic[5];
};

inline std::vector<int> tactics_of(ReAttention& layer) {
  std::vector<int> found(std::size_t(layer.getNbTactics()));
  if (layer.getValidTactics(found.data(), int(found.size())) != 0) return {-1};
  return found;
}

inline IPluginCreatorV3One& creator() {
  std::int32_t count = 0;
  return *static_cast<IPluginCreatorV3One*>(getCreators(count)[0]);
}

inline std::unique_ptr<ReAttention> create(std::vector<PluginField> fields, TensorRTPhase phase) {
  const PluginFieldCollection collection{int(fields.size()), fields.data()};
  return std::unique_ptr<ReAttention>(static_cast<ReAttention*>(creator().createPlugin("a", &collection, phase)));
}

}  // namespace support
