// TensorRT or TensorRT-RTX, whichever's headers this was compiled with; the library itself is loaded at run time.
//
// A plan is executable code, and TensorRT does not see that it was changed: its hash is checked before TensorRT gets a
// byte, and host code within it is refused unless the caller allows it.
#include <NvInferRuntime.h>

#include <algorithm>

#include "artifact/engine_fit.h"
#include "backend/backend.h"
#include "backend/lease.h"
#include "backend/lease_pool.h"
#include "error.h"
#include "plugin/plugin.h"

namespace deepvit {
namespace {

constexpr bool kIsRtx = NV_TENSORRT_MAJOR < 8;  // TensorRT-RTX counts its versions from 1
constexpr char kBackend[] = "tensorrt";
constexpr char kRtxBackend[] = "tensorrt-rtx";

std::vector<std::string> library_names() {
  const std::string major = std::to_string(NV_TENSORRT_MAJOR);
  if (kIsRtx) return {"libtensorrt_rtx.so." + major, "libtensorrt_rtx.so"};
  return {"libnvinfer.so." + major, "libnvinfer_lean.so." + major};
}

std::string library_title() {
  return std::string(kIsRtx ? "TensorRT-RTX " : "TensorRT ") + std::to_string(NV_TENSORRT_MAJOR);
}

// getInferLibVersion's encoding, of TensorRT 10 and later and of TensorRT-RTX.
Version version_from(std::int32_t encoded) { return {encoded / 10000, encoded / 100 % 100, encoded % 100}; }

// TensorRT as loaded: its version, and its factory.
struct Library {
  explicit Library(const Options& options)
      : loaded(options.tensorrt_library, library_names(),
               library_title() +
                   " is needed: put its library on the loader's path or name it in "
                   "options.tensorrt_library"),
        version(version_from(loaded.function<decltype(getInferLibVersion)>("getInferLibVersion")())) {
    if (version[0] != NV_TENSORRT_MAJOR) {
      throw missing(loaded.name() + " is version " + text_of(version) + "; this library was compiled for " +
                    library_title());
    }
  }

  Version version_and_build() const {
    Version all = version;
    all.push_back(loaded.function<decltype(getInferLibBuildVersion)>("getInferLibBuildVersion")());
    return all;
  }

  // The lean library builds nothing, and has no function to.
  bool is_lean() const { return !loaded.has("createInferBuilder_INTERNAL"); }

  nvinfer1::IRuntime* create_runtime() const {
    auto* create = loaded.function<decltype(createInferRuntime_INTERNAL)>("createInferRuntime_INTERNAL");
    return static_cast<nvinfer1::IRuntime*>(create(&TensorRtLog::of_process(), NV_TENSORRT_VERSION));
  }

  SharedLibrary loaded;
  Version version;  // major, minor, patch
};

void require_backend(const Engine& engine) {
  const char* mine = kIsRtx ? kRtxBackend : kBackend;
  if (engine.backend != mine) {
    throw missing(engine.file + " is for " + engine.backend + "; this library was compiled for " + library_title());
  }
  if (engine.weight_stripped) {
    throw missing(engine.file +
                  " has no weights of its own, which only the Python runtime can fit in; build it "
                  "without --weight-stripped");
  }
}

void require_fit(const Engine& engine, const Version& version, const std::string& capability) {
  if (!version_fits(engine, version)) {
    throw missing(engine.file + " was built by version " + engine.version + " and does not load in " +
                  text_of(version) + "; run `python cli.py build` here");
  }
  if (!capability_fits(engine, capability)) {
    throw missing(engine.file + " was built for compute capability " + engine.compute_capability + ", this GPU has " +
                  capability + "; run `python cli.py build` here");
  }
}

// A run on a lease, and where its logits come to be.
class LeasedRun final : public Run {
 public:
  using Flight = LeasePool<TensorRtLease>::Flight;
  LeasedRun(std::shared_ptr<Flight> flight, std::shared_ptr<const std::vector<float>> logits)
      : flight_(std::move(flight)), logits_(std::move(logits)) {}
  void result(float* logits) override {
    flight_->require();
    std::copy(logits_->begin(), logits_->end(), logits);
  }

 private:
  const std::shared_ptr<Flight> flight_;
  const std::shared_ptr<const std::vector<float>> logits_;
};

class TensorRt final : public Backend {
 public:
  TensorRt(const Artifact& artifact, const Engine& record, const Options& options)
      : name_(artifact.path(record.file)), library_(options), cuda_(options.cuda_library, options.device) {
    if (library_.is_lean() && !record.version_compatible) {
      throw missing(library_.loaded.name() +
                    " is TensorRT's lean library, which loads version-compatible plans only; " + record.file +
                    " is none: install " + library_title() + " whole, or build with --version-compatible");
    }
    require_fit(record, library_.version_and_build(), cuda_.compute_capability());
    if (record.version_compatible && !options.allow_host_code) {
      throw invalid_argument(name_ +
                             " is version-compatible: TensorRT loads it by host code within the plan; if you "
                             "trust whoever built it, set options.allow_host_code");
    }
    const Bytes plan = artifact.read(record.file);
    cuda_.use();
    const TensorRtLog::Listener listener(options.log);
    runtime_.reset(library_.create_runtime());
    TensorRtLog::require(runtime_ != nullptr, "create a runtime");
    if (record.plugin) {
      const PluginUse use{name_, record.backend, library_.version[0], cuda_.compute_capability()};
      load_plugin(*record.plugin, use, library_.loaded, options);
    }
    runtime_->setEngineHostCodeAllowed(options.allow_host_code);
    engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
    TensorRtLog::require(engine_ != nullptr, "load " + name_);
    kernels_ = std::make_unique<Kernels>(*engine_, kernel_cache(artifact, record, options.log), options.log);
    EngineParts parts{engine_.get(), kernels_.get(), &cuda_, bindings_of(artifact.manifest()), 0, options.log};
    classes_ = artifact.manifest().classes;
    batch_ = profile_of(parts.bindings);
    parts.largest_batch = batch_.max;
    leases_ = std::make_unique<LeasePool<TensorRtLease>>(static_cast<std::size_t>(options.contexts),
                                                         [parts] { return std::make_unique<TensorRtLease>(parts); });
  }

  ~TensorRt() override {
    leases_->land_all();
    try {
      cuda_.use();
      keep_kernels();
    } catch (const std::exception& error) {
      // What is lost is compiled again.
    }
  }

  std::string description() const override {
    return std::string(kIsRtx ? "TensorRT-RTX " : "TensorRT ") + text_of(library_.version) + " on compute capability " +
           cuda_.compute_capability();
  }

  BatchRange batch() const override { return batch_; }

  std::size_t at_once() const override { return leases_->most(); }

  std::unique_ptr<Run> begin(const void* input, std::size_t count) override {
    const std::size_t rows = batch_.rows_for(count);
    auto logits = std::make_shared<std::vector<float>>(count * classes_);
    auto flight = leases_->begin([&](TensorRtLease& lease) { lease.submit(input, count, rows); },
                                 [logits](TensorRtLease& lease) { lease.collect(logits->data()); },
                                 [this, rows] {
                                   kernels_->has_run(rows);
                                   keep_kernels();
                                 });
    return std::make_unique<LeasedRun>(std::move(flight), std::move(logits));
  }

 private:
  // Where kernels that are compiled at run time are kept; nowhere for TensorRT, which compiles none.
  std::string kernel_cache(const Artifact& artifact, const Engine& record, const Log& log) const {
    if (!kIsRtx) return "";
    const std::string& hash = artifact.manifest().files.at(record.file).sha256;
    const std::string version = text_of(library_.version_and_build());
    return kernel_cache_path({hash, version, cuda_.gpu(), cuda_.compute_capability(), cuda_.driver()}, log);
  }

  void keep_kernels() {
    kernels_->keep([&](const auto& use) { return leases_->when_idle(use); });
  }

  std::vector<Binding> bindings_of(const Manifest& manifest) const {
    std::vector<Binding> bindings;
    for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
      Binding binding;
      binding.name = engine_->getIOTensorName(i);
      binding.is_input = engine_->getTensorIOMode(binding.name.c_str()) == nvinfer1::TensorIOMode::kINPUT;
      const Tensor& tensor = binding.is_input ? manifest.input : manifest.output;
      const nvinfer1::Dims dims = engine_->getTensorShape(binding.name.c_str());
      const auto type = tensor.is_uint8 ? nvinfer1::DataType::kUINT8 : nvinfer1::DataType::kFLOAT;
      const bool fits = dims.nbDims == static_cast<std::int32_t>(tensor.shape.size()) &&
                        std::equal(tensor.shape.begin() + 1, tensor.shape.end(), dims.d + 1) &&
                        engine_->getTensorDataType(binding.name.c_str()) == type;
      if (!fits) throw invalid_artifact(name_ + ": tensor " + binding.name + " is not what its manifest says");
      binding.shape.assign(tensor.shape.begin() + 1, tensor.shape.end());
      binding.bytes = tensor.is_uint8 ? 1 : sizeof(float);
      for (std::int64_t size : binding.shape) binding.bytes *= static_cast<std::size_t>(size);
      bindings.push_back(binding);
    }
    if (bindings.size() != 2 || bindings[0].is_input == bindings[1].is_input) {
      throw invalid_artifact(name_ + " does not have one input and one output");
    }
    return bindings;
  }

  BatchRange profile_of(const std::vector<Binding>& bindings) const {
    if (engine_->getNbOptimizationProfiles() != 1) throw invalid_artifact(name_ + " has more than one profile");
    const std::string& image = bindings[0].is_input ? bindings[0].name : bindings[1].name;
    const auto size = [&](nvinfer1::OptProfileSelector which) {
      return static_cast<std::size_t>(engine_->getProfileShape(image.c_str(), 0, which).d[0]);
    };
    return {size(nvinfer1::OptProfileSelector::kMIN), size(nvinfer1::OptProfileSelector::kOPT),
            size(nvinfer1::OptProfileSelector::kMAX)};
  }

  // Declared in this order, so that what others use is destroyed after them: leases with their contexts, what makes
  // contexts, the engine, its runtime.
  std::string name_;
  Library library_;
  Cuda cuda_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<Kernels> kernels_;
  BatchRange batch_;
  std::size_t classes_ = 0;
  std::unique_ptr<LeasePool<TensorRtLease>> leases_;
};

}  // namespace

std::unique_ptr<Backend> open_tensorrt(const Artifact& artifact, const Engine& engine, const Options& options) {
  require_backend(engine);  // asked first: it needs no library
  return std::make_unique<TensorRt>(artifact, engine, options);
}

}  // namespace deepvit
