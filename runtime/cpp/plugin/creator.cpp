// How TensorRT finds the layer, and makes it from an ONNX node's attributes or from a plan.
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "log.h"
#include "reattention.h"

namespace reattention {

using namespace nvinfer1;

namespace {

const PluginField* find(const PluginFieldCollection& fields, const char* name) {
  for (int i = 0; i < fields.nbFields; ++i) {
    if (std::strcmp(fields.fields[i].name, name) == 0) return &fields.fields[i];
  }
  return nullptr;
}

template <typename T>
T value_of(const PluginFieldCollection& fields, const char* name, PluginFieldType type) {
  const PluginField* field = find(fields, name);
  if (field == nullptr || field->type != type || field->length != 1 || field->data == nullptr) {
    throw std::runtime_error(std::string("the layer has no ") + name + ", or one of another type");
  }
  T value;
  std::memcpy(&value, field->data, sizeof value);
  return value;
}

// A plan names the kernels with which it was built, and with which its tactics were timed.
void require_same_kernels(const PluginFieldCollection& fields) {
  const PluginField* field = find(fields, "kernels");
  const std::string built_with = field == nullptr || field->data == nullptr
                                     ? "none"
                                     : std::string(static_cast<const char*>(field->data), std::size_t(field->length));
  if (built_with == kKernelsSha256) return;
  throw std::runtime_error("the plan was built with other kernels: expected " + std::string(kKernelsSha256) +
                           ", which this library has, got " + built_with + "; build the engine again");
}

class Creator final : public IPluginCreatorV3One {
 public:
  IPluginV3* createPlugin(const char*, const PluginFieldCollection* fields, TensorRTPhase phase) noexcept override {
    return guarded<IPluginV3*>(nullptr, [&] {
      if (phase == TensorRTPhase::kRUNTIME) require_same_kernels(*fields);
      const auto scale = value_of<float>(*fields, "scale", PluginFieldType::kFLOAT32);
      const auto tokens = value_of<std::int32_t>(*fields, "tokens", PluginFieldType::kINT32);
      const auto queries = value_of<std::int32_t>(*fields, "queries", PluginFieldType::kINT32);
      if (!(std::isfinite(scale) && scale > 0 && tokens > 0 && queries > 0)) {
        throw std::runtime_error("scale is " + std::to_string(scale) + ", tokens " + std::to_string(tokens) +
                                 " and queries " + std::to_string(queries) + ", expected all above 0");
      }
      return new ReAttention(scale, tokens, queries);
    });
  }

  const PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

 private:
  const PluginField fields_[3] = {PluginField("scale", nullptr, PluginFieldType::kFLOAT32, 1),
                                  PluginField("tokens", nullptr, PluginFieldType::kINT32, 1),
                                  PluginField("queries", nullptr, PluginFieldType::kINT32, 1)};
  const PluginFieldCollection collection_{3, fields_};
};

// Never destroyed: TensorRT's registry may ask for it while a process ends.
Creator& creator() {
  static auto* const one = new Creator();
  return *one;
}

IPluginRegistry* registry() {
  auto* const of_process = reinterpret_cast<decltype(&::getPluginRegistry)>(tensorrt_symbol("getPluginRegistry"));
  return of_process == nullptr ? nullptr : of_process();
}

bool is_registered = false;

// For who only opens the library, as Triton's backend does; not of use where TensorRT comes later, which then asks.
__attribute__((constructor)) void register_creator() {
  if (IPluginRegistry* found = registry()) is_registered = found->registerCreator(creator(), kNamespace);
}

}  // namespace
}  // namespace reattention

extern "C" __attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  reattention::set_logger_finder(finder);
}

// Asked by a registry that loads the library and then registers what it is given: it must not be there already.
extern "C" __attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    std::int32_t& count) {
  using namespace reattention;
  static nvinfer1::IPluginCreatorInterface* const creators[] = {&creator()};
  if (is_registered) registry()->deregisterCreator(creator());
  is_registered = false;
  count = 1;
  return creators;
}
