// A TensorRT of which the tests see every call: its engine gives an image's logits as multiples of its first value.
#include <atomic>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "fake_cuda.h"
#include "fake_nvinfer.h"
#include "stubs.h"

namespace {

constexpr std::int64_t kImage[] = {3, 224, 224};
constexpr std::int64_t kClasses = 10;
constexpr std::int32_t kProfile[] = {2, 4, 8};  // the least is 2: one image has to be padded
std::atomic<int> loaded{0};
#ifdef FAKE_LEAN
constexpr bool kIsLean = true;  // builds nothing, and loads what was built for it alone
#else
constexpr bool kIsLean = false;
#endif

// As TensorRT does, the first logger that it is given is kept and used for ever, whatever is destroyed.
std::atomic<ILogger*> first_logger{nullptr};
std::atomic<const char*> complaint{""};
std::atomic<bool> refuses{false};
void say(ILogger::Severity severity, const char* message) { first_logger.load()->log(severity, message); }

Dims dims_of(const std::string& name, std::int64_t batch) {
  if (name == "images") return Dims4(batch, kImage[0], kImage[1], kImage[2]);
  return Dims2(batch, kClasses);
}

// Errors of which nobody asks: as an engine is destroyed, and when the process ends.
void complain() { say(ILogger::Severity::kERROR, std::string(2000, '!').c_str()); }
struct LastWords {
  ~LastWords() {
    if (first_logger != nullptr) complain();
  }
} last_words;

// What is alive of an engine or a context, for those that must not outlive it.
using Alive = std::shared_ptr<std::atomic<bool>>;
Alive alive() { return std::make_shared<std::atomic<bool>>(true); }

// In a recorded graph: the context whose state it records is destroyed after it.
struct NeedsContext {
  Alive context;
  ~NeedsContext() { fake_cuda_require(*context); }
};

std::atomic<int> compiled{0};
std::atomic<int> generic{0};
std::atomic<int> read_early{0};
std::atomic<int> running{0};
std::atomic<int> plugins{0};
std::atomic<bool> refuses_plugins{false};

#ifdef TRT_MAJOR_RTX
constexpr char kKernels[] = "kernels of TensorRT-RTX: ";

class HostMemory final : public IHostMemory {
 public:
  explicit HostMemory(std::string content) : impl_(std::move(content)) { mImpl = &impl_; }

 private:
  class Impl final : public HostMemoryStub {
   public:
    explicit Impl(std::string content) : content_(std::move(content)) {}
    void* data() const noexcept override { return const_cast<char*>(content_.data()); }
    std::size_t size() const noexcept override { return content_.size(); }

   private:
    const std::string content_;
  };
  Impl impl_;
};

// The batch sizes that kernels were compiled for.
struct Compiled {
  std::mutex mutex;
  std::set<std::int64_t> batches;
};

class RuntimeCache final : public IRuntimeCache {
 public:
  RuntimeCache() { mImpl = &impl_; }
  const std::shared_ptr<Compiled>& compiled_batches() const { return impl_.compiled_; }

 private:
  class Impl final : public RuntimeCacheStub {
   public:
    IHostMemory* serialize() const noexcept override {
      if (running > 0) ++read_early;
      std::string content = kKernels;
      for (std::int64_t batch : compiled_->batches) content += static_cast<char>(batch);
      return new HostMemory(content);
    }
    bool deserialize(void const* blob, std::size_t size) noexcept override {
      const std::string content(static_cast<const char*>(blob), size);
      if (content.compare(0, sizeof kKernels - 1, kKernels) != 0) return false;
      for (char batch : content.substr(sizeof kKernels - 1)) compiled_->batches.insert(batch);
      return true;
    }
    const std::shared_ptr<Compiled> compiled_ = std::make_shared<Compiled>();
  };
  Impl impl_;
};

// What a context is made of.
struct How {
  bool is_eager = false;
  bool is_user_managed = false;
  std::shared_ptr<Compiled> compiled;
};

class RuntimeConfig final : public IRuntimeConfig {
 public:
  RuntimeConfig() { mImpl = &impl_; }
  const How& how() const { return impl_.how_; }

 private:
  class Impl final : public RuntimeConfigStub {
   public:
    void setExecutionContextAllocationStrategy(ExecutionContextAllocationStrategy strategy) noexcept override {
      how_.is_user_managed = strategy == ExecutionContextAllocationStrategy::kUSER_MANAGED;
    }
    void setDynamicShapesKernelSpecializationStrategy(
        DynamicShapesKernelSpecializationStrategy strategy) noexcept override {
      how_.is_eager = strategy == DynamicShapesKernelSpecializationStrategy::kEAGER;
    }
    IRuntimeCache* createRuntimeCache() const noexcept override { return new RuntimeCache(); }
    bool setRuntimeCache(IRuntimeCache const& cache) noexcept override {
      how_.compiled = static_cast<const RuntimeCache&>(cache).compiled_batches();
      return true;
    }
    How how_;
  };
  Impl impl_;
};
#else
struct How {};
#endif

// Destroyed before its engine and the memory that it was given.
class Context final : public IExecutionContext {
 public:
  explicit Context(Alive engine, How how = {}) : impl_(std::move(engine), std::move(how)) { mImpl = &impl_; }

 private:
  class Impl final : public ContextStub {
   public:
    explicit Impl(Alive engine, How how) : engine_(std::move(engine)), how_(std::move(how)) {}
    ~Impl() override {
      *alive_ = false;
      fake_cuda_require(*engine_);
      fake_cuda_require_memory(scratch_);
      for (const auto& [name, address] : addresses_) fake_cuda_require_memory(address);
    }
    void setDeviceMemoryV2(void* memory, std::int64_t) noexcept override { scratch_ = memory; }
    bool setInputShape(char const*, Dims const& dims) noexcept override {
      batch_ = dims.d[0];
      return dims.nbDims == 4 && batch_ >= kProfile[0] && batch_ <= kProfile[2];
    }
    bool setTensorAddress(char const* name, void* address) noexcept override {
      addresses_[name] = static_cast<float*>(address);
      return true;
    }
    bool enqueueV3(cudaStream_t stream) noexcept override {
      if (refuses) return false;
      if (fake_cuda_is_recording(stream) && fake_cuda_fails("enqueueV3 while recording")) return false;
      say(ILogger::Severity::kWARNING, "a run");
      if (*complaint != '\0') say(ILogger::Severity::kERROR, complaint);
      compile(fake_cuda_is_recording(stream));
      const float* images = addresses_["images"];
      float* logits = addresses_["logits"];
      const auto needs = std::make_shared<NeedsContext>(NeedsContext{alive_});
      fake_cuda_enqueue(stream, [images, logits, batch = batch_, needs] {
        ++running;
        for (std::int64_t i = 0; i < batch; ++i) {
          const float first = images[i * kImage[0] * kImage[1] * kImage[2]];
          for (std::int64_t c = 0; c < kClasses; ++c) logits[i * kClasses + c] = first * static_cast<float>(c);
        }
        --running;
      });
      return true;
    }

   private:
    void compile([[maybe_unused]] bool is_recorded) {
#ifdef TRT_MAJOR_RTX
      const std::lock_guard<std::mutex> lock(how_.compiled->mutex);
      const bool has_kernels = how_.compiled->batches.count(batch_) == 1;
      if (is_recorded && !has_kernels) ++generic;
      if (!how_.is_eager || has_kernels) return;
      ++compiled;
      how_.compiled->batches.insert(batch_);
#endif
    }

    const Alive alive_ = alive();
    const Alive engine_;
    const How how_;
    const void* scratch_ = nullptr;
    std::int64_t batch_ = 0;
    std::map<std::string, float*> addresses_;
  };
  Impl impl_;
};

class Engine final : public ICudaEngine {
 public:
  Engine() { mImpl = &impl_; }

 private:
  class Impl final : public EngineStub {
   public:
    ~Impl() override {
      *alive_ = false;
      complain();
    }
    std::int32_t getNbIOTensors() const noexcept override { return 2; }
    char const* getIOTensorName(std::int32_t index) const noexcept override { return index == 0 ? "images" : "logits"; }
    TensorIOMode getTensorIOMode(char const* name) const noexcept override {
      return std::strcmp(name, "images") == 0 ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }
    Dims getTensorShape(char const* name) const noexcept override { return dims_of(name, -1); }
    DataType getTensorDataType(char const*) const noexcept override { return DataType::kFLOAT; }
    std::int32_t getNbOptimizationProfiles() const noexcept override { return 1; }
    Dims getProfileShape(char const* name, std::int32_t, OptProfileSelector which) const noexcept override {
      return dims_of(name, kProfile[static_cast<int>(which)]);
    }
    std::int64_t getDeviceMemorySizeV2() const noexcept override { return 1024; }
    IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy) noexcept override {
      return new Context(alive_);
    }
#ifdef TRT_MAJOR_RTX
    IRuntimeConfig* createRuntimeConfig() noexcept override { return new RuntimeConfig(); }
    IExecutionContext* createExecutionContextWithRuntimeConfig(IRuntimeConfig* config) noexcept override {
      const How& how = static_cast<RuntimeConfig*>(config)->how();
      return how.is_user_managed ? new Context(alive_, how) : nullptr;
    }
#endif

   private:
    const Alive alive_ = alive();
  };
  Impl impl_;
};

class Runtime final : public IRuntime {
 public:
  Runtime() { mImpl = &impl_; }

 private:
  class Impl final : public RuntimeStub {
   public:
    void setEngineHostCodeAllowed(bool is_allowed) noexcept override { is_compatible_ = is_allowed; }
    ICudaEngine* deserializeCudaEngine(void const* plan, std::size_t size) noexcept override {
      ++loaded;
      if (kIsLean && !is_compatible_) {
        say(ILogger::Severity::kERROR, "the lean runtime takes version-compatible plans only");
        return nullptr;
      }
      if (size >= 4 && std::memcmp(plan, "ftrt", 4) == 0) return new Engine();
      say(ILogger::Severity::kERROR, "not a plan");
      return nullptr;
    }

   private:
    bool is_compatible_ = false;
  };
  Impl impl_;
};

// Opens nothing: keeps what it was to open.
class Registry final : public RegistryStub {
 public:
  PluginLibraryHandle loadLibrary(char const* path) noexcept override {
    if (refuses_plugins) return nullptr;
    std::ifstream file(path, std::ios::binary);
    content_.assign(std::istreambuf_iterator<char>(file), {});
    ++plugins;
    return this;
  }
  const char* content() const { return content_.c_str(); }

 private:
  std::string content_;
};
Registry& registry() {
  static Registry one;
  return one;
}

}  // namespace

extern "C" {
const char* fake_nvinfer_plugin(void) { return registry().content(); }
int fake_nvinfer_plugins(void) { return plugins; }
void fake_nvinfer_refuse_plugins(bool is_refused) { refuses_plugins = is_refused; }
__attribute__((visibility("default"))) IPluginRegistry* getPluginRegistry() noexcept { return &registry(); }
int fake_nvinfer_loaded(void) { return loaded; }
int fake_nvinfer_compiled(void) { return compiled; }
int fake_nvinfer_generic(void) { return generic; }
int fake_nvinfer_read_early(void) { return read_early; }
void fake_nvinfer_complain(const char* message) { complaint = message; }
void fake_nvinfer_refuse_runs(bool is_refused) { refuses = is_refused; }
__attribute__((visibility("default"))) std::int32_t getInferLibVersion() noexcept {
  return NV_TENSORRT_MAJOR * 10000 + 400;
}
__attribute__((visibility("default"))) std::int32_t getInferLibBuildVersion() noexcept { return 106; }
__attribute__((visibility("default"))) void* createInferRuntime_INTERNAL(void* logger, std::int32_t) noexcept {
  ILogger* none = nullptr;
  first_logger.compare_exchange_strong(none, static_cast<ILogger*>(logger));
  return new Runtime();
}
#ifndef FAKE_LEAN
__attribute__((visibility("default"))) void* createInferBuilder_INTERNAL(void*, std::int32_t) noexcept {
  unexpected("createInferBuilder_INTERNAL");
}
#endif
}
