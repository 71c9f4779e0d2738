// The TensorRT backend on a TensorRT and a CUDA that exist in memory only: leases, graphs, batches, failures.
#include <NvInferRuntime.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "artifact/sha256.h"
#include "fake_tensorrt/fake_cuda.h"
#include "fake_tensorrt/fake_nvinfer.h"
#include "support.h"

namespace {

#ifdef TRT_MAJOR_RTX
constexpr bool kIsRtx = true;
constexpr char kTitle[] = "TensorRT-RTX ";
#else
constexpr bool kIsRtx = false;
constexpr char kTitle[] = "TensorRT ";
#endif

// An artifact whose plan is for the fake, and a folder of its own for what is kept.
class Fitting : public support::Copy {
 public:
  Fitting() : support::Copy("engine") {
    change("/version", std::to_string(NV_TENSORRT_MAJOR) + ".4.0.106");
    change("/backend", kIsRtx ? "tensorrt-rtx" : "tensorrt");
    setenv("DEEPVIT_CACHE", cache().c_str(), 1);
  }

  std::filesystem::path cache() const { return path() / "cache"; }

  void change(const std::string& pointer, const nlohmann::json& value) const {
    auto found = manifest();
    found[nlohmann::json::json_pointer("/engines/0" + pointer)] = value;
    set_manifest(found);
  }
};

deepvit_options fake_options() {
  deepvit_options options = support::options();
  options.backend = kIsRtx ? DEEPVIT_BACKEND_TENSORRT_RTX : DEEPVIT_BACKEND_TENSORRT;
  options.tensorrt_library = FAKE_NVINFER;
  options.cuda_library = FAKE_CUDA;
  return options;
}

struct Batch {
  explicit Batch(std::size_t count, float first_value = 1) : input(count * 3 * 224 * 224) {
    for (std::size_t i = 0; i < count; ++i) input[i * 3 * 224 * 224] = first_value + static_cast<float>(i);
  }
  std::vector<float> input;
};

bool is_right(const std::vector<float>& logits, float first_value = 1) {
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != (first_value + static_cast<float>(i / 10)) * static_cast<float>(i % 10)) return false;
  }
  return !logits.empty();
}

}  // namespace

TEST_SUITE_BEGIN("tensorrt");

TEST_CASE("batches are padded to the profile's least and split at its most; graphs are launched; nothing stays") {
  const Fitting artifact;
  {
    const deepvit::Model model(artifact.path().string(), fake_options());
    CHECK(std::string(model.info().backend).find(kTitle + std::to_string(NV_TENSORRT_MAJOR) + ".4.0 on") == 0);
    CHECK(model.info().batch_max == 8);
    for (int round = 0; round < 3; ++round) {
      for (std::size_t count : {1, 2, 3, 7, 8, 9, 17}) CHECK(is_right(model.run(Batch(count).input.data(), count)));
    }
    CHECK(fake_cuda_launches() > 0);
    CHECK(fake_cuda_live() > 0);
  }
  CHECK(fake_cuda_live() == 0);
  CHECK(fake_cuda_misordered() == 0);
}

TEST_CASE("an engine that does not give the golden logits is refused, and nothing stays") {
  const Fitting artifact;
  auto manifest = artifact.manifest();
  manifest["golden"]["sqnr_db"] = 35;
  artifact.set_manifest(manifest);
  const auto opened = support::open_status(artifact.path().string(), fake_options());
  CHECK(opened.status == DEEPVIT_INVALID_ARTIFACT);
  CHECK(opened.message.find("logits for the golden image") != std::string::npos);
  CHECK(fake_cuda_live() == 0);
}

TEST_CASE("8 threads share 2 leases") {
  const Fitting artifact;
  {
    const deepvit::Model model(artifact.path().string(), fake_options());
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        const auto first = static_cast<float>(100 * t);
        for (std::size_t i = 0; i < 50; ++i) {
          const std::size_t count = 1 + i % 5;
          if (!is_right(model.run(Batch(count, first).input.data(), count), first)) ++wrong;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
  }
  CHECK(fake_cuda_live() == 0);
  CHECK(fake_cuda_misordered() == 0);
}

TEST_CASE("copying hides behind computing, in one call of many images, and in runs that are begun and waited for") {
  const Fitting artifact;
  constexpr double kCopyIn = 2, kCompute = 3, kCopyOut = 0.2;
  constexpr std::size_t kBatches = 20;
  deepvit_options options = fake_options();
  const auto batch_of = [](std::size_t number) { return Batch(8, static_cast<float>(10 * number)); };
  for (int contexts : {2, 1}) {
    options.contexts = contexts;
    const deepvit::Model model(artifact.path().string(), options);
    for (int i = 0; i < 3; ++i) model.run(Batch(8).input.data(), 8);
    const double serial = kCopyIn + kCompute + kCopyOut;
    const double most = contexts == 2 ? 1.1 * kCompute : serial + 0.01;

    fake_cuda_costs(kCopyIn, kCompute, kCopyOut);
    double start = fake_cuda_now();
    const auto seconds_a_batch = [&] { return (fake_cuda_now() - std::exchange(start, fake_cuda_now())) / kBatches; };
    CHECK(is_right(model.run(Batch(8 * kBatches).input.data(), 8 * kBatches)));
    const double whole = seconds_a_batch();
    CHECK(whole <= most);
    CHECK(whole >= (contexts == 2 ? kCompute : serial - 0.01));  // the negative control

    std::vector<deepvit::PendingRun> runs;
    for (std::size_t i = 0; i < kBatches; ++i) {
      Batch batch = batch_of(i);
      runs.push_back(model.begin(batch.input.data(), 8));
      std::fill(batch.input.begin(), batch.input.end(), 0.0f);  // as the caller may
    }
    for (std::size_t i = 0; i < kBatches; ++i) CHECK(is_right(runs[i].wait(), static_cast<float>(10 * i)));
    CHECK(seconds_a_batch() <= most);

    for (std::size_t i = 0; i < kBatches; ++i) CHECK(is_right(model.run(batch_of(i).input.data(), 8), 10.0f * i));
    CHECK(seconds_a_batch() >= serial - 0.01);  // another: one after the other is seen
    fake_cuda_costs(0, 0, 0);
  }
  CHECK(fake_cuda_live() == 0);
}

TEST_CASE("a model can be closed with runs under way, whose logits are there still; nothing stays") {
  const Fitting artifact;
  std::vector<deepvit::PendingRun> runs;
  {
    const deepvit::Model model(artifact.path().string(), fake_options());
    for (std::size_t count : {1, 8, 3, 17, 5}) runs.push_back(model.begin(Batch(count).input.data(), count));
    for (int i = 0; i < 3; ++i) model.begin(Batch(4).input.data(), 4);  // nobody waits for them
    CHECK(is_right(model.run(Batch(2).input.data(), 2)));
  }
  CHECK(fake_cuda_live() == 0);
  CHECK(fake_cuda_misordered() == 0);
  for (const auto& run : runs) {
    CHECK(is_right(run.wait()));
    CHECK(run.wait() == run.wait());
  }
}

TEST_CASE("what a run fails with is told to whoever waits for it") {
  const Fitting artifact;
  {
    const deepvit::Model model(artifact.path().string(), fake_options());
    for (int i = 0; i < 3; ++i) model.run(Batch(4).input.data(), 4);
    for (const char* function : {"cudaStreamSynchronize", "cudaMemcpyAsync"}) {
      const auto sound = model.begin(Batch(4).input.data(), 4);
      CHECK(is_right(sound.wait()));
      fake_cuda_fail(function);
      const auto failed = model.begin(Batch(4).input.data(), 4);
      for (int i = 0; i < 2; ++i) {
        CHECK_THROWS_AS(failed.wait(), deepvit::Error);
        fake_cuda_fail("");
      }
      CHECK(is_right(model.begin(Batch(4).input.data(), 4).wait()));
    }
  }
  CHECK(fake_cuda_live() == 0);
  CHECK(fake_cuda_misordered() == 0);
}

TEST_CASE("a recording that fails is ended, and the run is made without") {
  const Fitting artifact;
  {
    const deepvit::Model model(artifact.path().string(), fake_options());
    fake_cuda_fail("enqueueV3 while recording");
    const int launches = fake_cuda_launches();
    for (int i = 0; i < 4; ++i)
      CHECK(
          is_right(model.run(Batch(4, 10.0f * static_cast<float>(i)).input.data(), 4), 10.0f * static_cast<float>(i)));
    CHECK(fake_cuda_launches() == launches);
    fake_cuda_fail("");
  }
  CHECK(fake_cuda_live() == 0);
  CHECK(fake_cuda_misordered() == 0);
}

TEST_CASE("without graphs it goes on; without memory it says so, and recovers") {
  const Fitting artifact;
  {
    const deepvit::Model model(artifact.path().string(), fake_options());
    fake_cuda_fail("cudaGraphInstantiateWithFlags");
    for (int i = 0; i < 3; ++i) CHECK(is_right(model.run(Batch(4).input.data(), 4)));
    for (const char* function :
         {"cudaStreamSynchronize", "cudaMemcpyAsync", "cudaMalloc", "cudaHostAlloc", "cudaStreamCreateWithFlags"}) {
      fake_cuda_fail(function);
      bool has_failed = false;
      try {
        model.run(Batch(4).input.data(), 4);
      } catch (const deepvit::Error& error) {
        has_failed = true;
        CHECK(error.status() == DEEPVIT_DEVICE_FAILED);
      }
      CHECK(has_failed);
    }
    fake_cuda_fail("");
    CHECK(is_right(model.run(Batch(4).input.data(), 4)));
  }
  CHECK(fake_cuda_live() == 0);
  CHECK(fake_cuda_misordered() == 0);
}

TEST_CASE("what does not fit this machine is said before the plan is loaded") {
  const std::pair<const char*, nlohmann::json> changes[] = {
      {"/version", std::to_string(NV_TENSORRT_MAJOR) + ".3.0.1"},
      {"/version", std::to_string(NV_TENSORRT_MAJOR) + ".4.0.105"},  // another build
      {"/compute_capability", "8.9,12.0"},
      {"/weight_stripped", true},
      {"/backend", kIsRtx ? "tensorrt" : "tensorrt-rtx"},
  };
  const int before = fake_nvinfer_loaded();
  for (const auto& [pointer, value] : changes) {
    const Fitting artifact;
    artifact.change(pointer, value);
    deepvit_options options = fake_options();
    if (std::string(pointer) == "/backend") {
      options.backend = kIsRtx ? DEEPVIT_BACKEND_TENSORRT : DEEPVIT_BACKEND_TENSORRT_RTX;
    }
    CHECK(support::open_status(artifact.path().string(), options).status == DEEPVIT_MISSING);
  }
  const Fitting artifact;
  artifact.change("/version_compatible", true);
  CHECK(support::open_status(artifact.path().string(), fake_options()).status == DEEPVIT_INVALID_ARGUMENT);
  support::write(artifact.path() / "engine.plan", "ftrt" + std::string(1000, 'x'));
  artifact.change("/version_compatible", false);
  CHECK(support::open_status(artifact.path().string(), fake_options()).status == DEEPVIT_INVALID_ARTIFACT);
  CHECK(fake_nvinfer_loaded() == before);
  deepvit_options allowed = fake_options();
  allowed.allow_host_code = 1;
  const Fitting compatible;
  compatible.change("/version_compatible", true);
  compatible.change("/version", std::to_string(NV_TENSORRT_MAJOR) + ".1.0.1");
  CHECK(support::open_status(compatible.path().string(), allowed).status == DEEPVIT_OK);
}

namespace {

// The named plugin, in a folder of its own, of an engine that needs it.
class WithPlugin : public Fitting {
 public:
  WithPlugin() {
    change("/plugin", {{"sha256", std::string(64, '1')}, {"kernels_sha256", kKernels}, {"layer", kLayer}});
    support::write(library(), content);
    write_record(nlohmann::json::object());
  }

  std::string library() const { return (path() / "libplugin.so").string(); }

  // What write_record.py writes, with changes.
  void write_record(const nlohmann::json& changes) const {
    nlohmann::json record = {{"schema", 1},
                             {"file", "libplugin.so"},
                             {"bytes", content.size()},
                             {"sha256", deepvit::sha256_of(content.data(), content.size())},
                             {"layer", kLayer},
                             {"backend", kIsRtx ? "tensorrt-rtx" : "tensorrt"},
                             {"backend_major", NV_TENSORRT_MAJOR},
                             {"kernels_sha256", kKernels},
                             {"compute_capabilities", {"8.0", "9.0"}}};
    record.update(changes);
    support::write(path() / "libplugin.json", record.dump());
  }

  support::Opened open(const std::string& named) const {
    deepvit_options options = fake_options();
    options.plugin_library = named.c_str();
    return support::open_status(path().string(), options);
  }

  const std::string content = "a plugin in " + path().string();  // another of every test's: none is loaded twice

 private:
  static constexpr char kLayer[] = "deepvit::ReAttention/1";
  const std::string kKernels = std::string(64, '2');
};

}  // namespace

TEST_CASE("an engine of fused re-attention has its plugin loaded, what was hashed of it, once") {
  const WithPlugin artifact;
  const int before = fake_nvinfer_plugins();
  for (int i = 0; i < 2; ++i) CHECK(artifact.open(artifact.library()).status == DEEPVIT_OK);
  CHECK(fake_nvinfer_plugins() == before + 1);
  CHECK(fake_nvinfer_plugin() == artifact.content);
  const WithPlugin other;
  setenv("DEEPVIT_PLUGIN", other.library().c_str(), 1);
  CHECK(support::open_status(other.path().string(), fake_options()).status == DEEPVIT_OK);
  CHECK(fake_nvinfer_plugin() == other.content);
  const int loaded = fake_nvinfer_plugins();
  const Fitting without;  // which needs none: a named one is left alone
  CHECK(support::open_status(without.path().string(), fake_options()).status == DEEPVIT_OK);
  CHECK(fake_nvinfer_plugins() == loaded);
  unsetenv("DEEPVIT_PLUGIN");
}

TEST_CASE("a plugin that is missing or another, or for another machine, is one line, and nothing is loaded") {
  const std::pair<nlohmann::json, const char*> changes[] = {
      {{{"sha256", std::string(64, '3')}}, ", the record beside it says 333"},
      {{{"layer", "deepvit::ReAttention/2"}}, "has the layer deepvit::ReAttention/2, expected deepvit::ReAttention/1"},
      {{{"backend", kIsRtx ? "tensorrt" : "tensorrt-rtx"}}, "is for tensorrt"},
      {{{"backend_major", NV_TENSORRT_MAJOR + 1}}, "; build it with the headers of that"},
      {{{"compute_capabilities", {"8.9", "10.0"}}}, "has no kernels for a GPU of compute capability 9.0"},
      {{{"kernels_sha256", std::string(64, '4')}}, "444, the engine was built with 222"},
      {{{"schema", 2}}, "libplugin.json is no record of a plugin; build it again"},
      {{{"more", 1}}, "is no record of a plugin"},
  };
  const int plans = fake_nvinfer_loaded(), plugins = fake_nvinfer_plugins();
  const auto is_refused = [&](const support::Opened& opened, const std::string& why) {
    CHECK(opened.status == DEEPVIT_MISSING);
    CAPTURE(opened.message);
    CHECK(opened.message.find(why) != std::string::npos);
    CHECK(opened.message.find('\n') == std::string::npos);
    CHECK(fake_nvinfer_loaded() == plans);
    CHECK(fake_nvinfer_plugins() == plugins);
  };
  const WithPlugin artifact;
  for (const auto& [change, why] : changes) {
    artifact.write_record(change);
    is_refused(artifact.open(artifact.library()), why);
  }
  artifact.write_record(nlohmann::json::object());
  is_refused(artifact.open(""), "needs the plugin of fused re-attention; let DEEPVIT_PLUGIN or options.plugin_library");
  is_refused(artifact.open("/no/such/plugin.so"), "/no/such/plugin.json cannot be read: No such file");
  fake_nvinfer_refuse_plugins(true);
  is_refused(artifact.open(artifact.library()), "cannot load ");
  fake_nvinfer_refuse_plugins(false);
  support::write(artifact.library(), artifact.content + "!");
  is_refused(artifact.open(artifact.library()), "has SHA-256 ");
  support::write(artifact.library(), artifact.content);
  CHECK(artifact.open(artifact.library()).status == DEEPVIT_OK);  // the negative control
  CHECK(fake_cuda_live() == 0);
}

TEST_CASE("a second model runs after the first, whose logger TensorRT keeps, was closed; each hears its own runs") {
  const Fitting artifact;
  const auto count = [](void* heard, deepvit_log_level, const char* message) {
    *static_cast<int*>(heard) += std::string(message) == "TensorRT: a run" ? 1 : 0;
  };
  int heard[] = {0, 0};
  deepvit_options options = fake_options();
  options.log = count;
  options.log_user_data = &heard[0];
  auto first = std::make_unique<deepvit::Model>(artifact.path().string(), options);
  options.log_user_data = &heard[1];
  const deepvit::Model second(artifact.path().string(), options);
  first.reset();
  const int after_opening[] = {heard[0], heard[1]};
  CHECK(is_right(second.run(Batch(4).input.data(), 4)));
  CHECK(heard[0] == after_opening[0]);
  CHECK(heard[1] == after_opening[1] + 1);
}

TEST_CASE("an error of an earlier call is not given as the reason of a later one") {
  const Fitting artifact;
  const deepvit::Model model(artifact.path().string(), fake_options());
  fake_nvinfer_complain("an old sorrow");
  CHECK(is_right(model.run(Batch(4).input.data(), 4)));
  fake_nvinfer_complain("");
  fake_nvinfer_refuse_runs(true);
  std::string message;
  try {
    model.run(Batch(5).input.data(), 5);
  } catch (const deepvit::Error& error) {
    message = error.what();
  }
  fake_nvinfer_refuse_runs(false);
  CHECK(message.find("could not run the engine: it does not say why") != std::string::npos);
}

#ifndef TRT_MAJOR_RTX
TEST_CASE("the lean library takes version-compatible plans; for others whoever asks for the best gets ONNX Runtime") {
  const Fitting artifact;
  deepvit_options options = fake_options();
  options.tensorrt_library = FAKE_NVINFER_LEAN;
  options.onnxruntime_library = support::options().onnxruntime_library;
  const auto refused = support::open_status(artifact.path().string(), options);
  CHECK(refused.status == DEEPVIT_MISSING);
  CHECK(refused.message.find("lean library") != std::string::npos);
  options.backend = DEEPVIT_BACKEND_AUTO;
  auto manifest = artifact.manifest();
  manifest["golden"]["sqnr_db"] = -1000;
  artifact.set_manifest(manifest);
  const deepvit::Model model(artifact.path().string(), options);
  CHECK(std::string(model.info().backend).find("ONNX Runtime") == 0);
  artifact.change("/version_compatible", true);
  options.backend = DEEPVIT_BACKEND_TENSORRT;
  options.allow_host_code = 1;
  CHECK(support::open_status(artifact.path().string(), options).status == DEEPVIT_OK);
}
#else

namespace {

void run_some(const std::string& artifact, std::initializer_list<std::size_t> counts,
              std::vector<std::string>* warnings = nullptr) {
  deepvit_options options = fake_options();
  if (warnings != nullptr) {
    options.log_user_data = warnings;
    options.log = [](void* heard, deepvit_log_level level, const char* message) {
      const bool is_of_kernels = std::string(message).find("compiled kernels") == 0;
      if (level == DEEPVIT_LOG_WARNING && is_of_kernels)
        static_cast<std::vector<std::string>*>(heard)->push_back(message);
    };
  }
  const deepvit::Model model(artifact, options);
  for (std::size_t count : counts) CHECK(is_right(model.run(Batch(count).input.data(), count)));
}

std::filesystem::path only_file(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "kernels")) files.push_back(entry.path());
  REQUIRE(files.size() == 1);
  return files.front();
}

}  // namespace

TEST_CASE("a graph records kernels that were compiled for its batch size, and they are there for the next model") {
  const Fitting artifact;
  const int before = fake_nvinfer_compiled();
  const int launches = fake_cuda_launches();
  run_some(artifact.path().string(), {4, 4, 4, 8, 8});
  CHECK(fake_cuda_launches() > launches);
  CHECK(fake_nvinfer_generic() == 0);
  CHECK(fake_nvinfer_read_early() == 0);
  const int compiled = fake_nvinfer_compiled() - before;
  CHECK(compiled == 3);  // the golden image is a batch of two
  run_some(artifact.path().string(), {4, 4, 8});
  CHECK(fake_nvinfer_compiled() - before == compiled);
  CHECK(fake_cuda_live() == 0);
  CHECK(fake_cuda_misordered() == 0);
}

TEST_CASE("kernels are on disk before the model is closed") {
  const Fitting artifact;
  const deepvit::Model model(artifact.path().string(), fake_options());
  const std::string before = support::contents(only_file(artifact.cache()));
  model.run(Batch(4).input.data(), 4);
  CHECK(support::contents(only_file(artifact.cache())).size() == before.size() + 1);
}

TEST_CASE("few batch sizes are compiled") {
  const Fitting artifact;
  const int before = fake_nvinfer_compiled();
  run_some(artifact.path().string(), {1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 5});
  CHECK(fake_nvinfer_compiled() - before == 3);
}

TEST_CASE("the file is the one that the Python runtime reads") {
  const Fitting artifact;
  run_some(artifact.path().string(), {4});
  const std::filesystem::path file = only_file(artifact.cache());
  const std::string hash = artifact.manifest()["files"]["engine.plan"]["sha256"];
  CHECK(file.filename().string() == hash + "_1.4.0.106_NVIDIA-Test_9.0_cuda-13.0.cache");
  const std::string content = support::contents(file);
  const std::string magic = "deepvit kernels 1\n";
  CHECK(content.compare(0, magic.size(), magic) == 0);
  const std::string kernels = content.substr(magic.size() + 32);
  std::string digest;
  const std::string hashed = file.filename().string() + "\n" + kernels;
  const std::string hexadecimal = deepvit::sha256_of(hashed.data(), hashed.size());
  for (std::size_t i = 0; i < 64; i += 2) digest += static_cast<char>(std::stoi(hexadecimal.substr(i, 2), nullptr, 16));
  CHECK(content.substr(magic.size(), 32) == digest);
  const auto mode = std::filesystem::status(file).permissions();
  CHECK((mode & std::filesystem::perms::all) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("what cannot be used is one warning, and written anew") {
  const Fitting artifact;
  run_some(artifact.path().string(), {4});
  const std::filesystem::path file = only_file(artifact.cache());
  const std::string sound = support::contents(file);
  std::string flipped = sound;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  for (const std::string& other : {flipped, sound.substr(0, sound.size() - 1), std::string(), std::string(5000, 'x')}) {
    support::write(file, other);
    std::vector<std::string> warnings;
    const int before = fake_nvinfer_compiled();
    run_some(artifact.path().string(), {4}, &warnings);
    CHECK(warnings.size() == 1);
    CHECK(warnings.front().find("are not used: they are damaged, or of another file") != std::string::npos);
    CHECK(fake_nvinfer_compiled() > before);
    CHECK(support::contents(file) == sound);
  }
  std::vector<std::string> warnings;
  run_some(artifact.path().string(), {4}, &warnings);  // the negative control
  CHECK(warnings.empty());
}

TEST_CASE("a folder that others can write to, and none at all, are left unused") {
  const Fitting artifact;
  run_some(artifact.path().string(), {4});
  const std::string before = support::contents(only_file(artifact.cache()));
  std::filesystem::permissions(artifact.cache(), std::filesystem::perms::others_write,
                               std::filesystem::perm_options::add);
  std::vector<std::string> warnings;
  run_some(artifact.path().string(), {8}, &warnings);
  CHECK(warnings.size() == 1);
  CHECK(warnings.front().find("can be written by others") != std::string::npos);
  CHECK(support::contents(only_file(artifact.cache())) == before);
  setenv("DEEPVIT_CACHE", (artifact.path() / "manifest.json").c_str(), 1);
  warnings.clear();
  run_some(artifact.path().string(), {8}, &warnings);
  CHECK(warnings.size() == 1);
}

TEST_CASE("8 threads: the cache is not read while one of them runs") {
  const Fitting artifact;
  {
    const deepvit::Model model(artifact.path().string(), fake_options());
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = 0; i < 30; ++i) {
          const std::size_t count = 2 + (i + static_cast<std::size_t>(t)) % 7;
          model.run(Batch(count).input.data(), count);
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }
  CHECK(fake_nvinfer_read_early() == 0);
  CHECK(fake_nvinfer_generic() == 0);
  const std::string content = support::contents(only_file(artifact.cache()));
  CHECK(content.substr(content.size() - 3) == "\2\4\10");
}
#endif

TEST_SUITE_END();
