// The library as others open it: a registry that asks it, and a program that does no more than dlopen.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <algorithm>

#include "support.h"

using namespace support;

namespace {

class Registry final : public IPluginRegistry {
 public:
  void setErrorRecorder(IErrorRecorder*) noexcept override {}
  IErrorRecorder* getErrorRecorder() const noexcept override { return nullptr; }
  bool isParentSearchEnabled() const override { return false; }
  void setParentSearchEnabled(bool) override {}
  PluginLibraryHandle loadLibrary(const char*) noexcept override { return nullptr; }
  void deregisterLibrary(PluginLibraryHandle) noexcept override {}
  bool registerCreator(IPluginCreatorInterface& creator, const char* name) noexcept override {
    found.emplace_back(&creator, name);
    return true;
  }
  IPluginCreatorInterface* const* getAllCreators(std::int32_t*) const noexcept override { return nullptr; }
  IPluginCreatorInterface* getCreator(const char*, const char*, const char*) noexcept override { return nullptr; }
  bool deregisterCreator(const IPluginCreatorInterface& creator) noexcept override {
    found.erase(std::remove_if(found.begin(), found.end(), [&](const auto& each) { return each.first == &creator; }),
                found.end());
    return true;
  }
  IPluginResource* acquirePluginResource(const char*, IPluginResource*) noexcept override { return nullptr; }
  std::int32_t releasePluginResource(const char*) noexcept override { return 0; }
  IPluginCreatorInterface* const* getAllCreatorsRecursive(std::int32_t*) noexcept override { return nullptr; }

  std::vector<std::pair<IPluginCreatorInterface*, std::string>> found;
};

Registry& own_registry() {
  static Registry registry;
  return registry;
}
Log* own_log = nullptr;

}  // namespace

// As in TensorRT's library; the plugin looks for them by name.
extern "C" __attribute__((visibility("default"))) IPluginRegistry* getPluginRegistry() noexcept {
  return &own_registry();
}
extern "C" __attribute__((visibility("default"))) ILogger* getLogger() noexcept { return own_log; }

TEST_CASE("opened, the library registers itself; a registry that asks it finds it not there yet") {
  auto& found = own_registry().found;
  found.clear();
  void* library = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(library != nullptr, dlerror());
  REQUIRE(found.size() == 1);
  CHECK(found[0].second == "deepvit");
  CHECK(static_cast<IPluginCreatorV3One*>(found[0].first)->getPluginName() == std::string("ReAttention"));
  CHECK(static_cast<IPluginCreatorV3One*>(found[0].first)->getPluginVersion() == std::string("1"));
  CHECK(static_cast<IPluginCreatorV3One*>(found[0].first)->getPluginNamespace() == std::string("deepvit"));
  const auto* const registered = found[0].first;

  const auto creators = reinterpret_cast<decltype(&getCreators)>(dlsym(library, "getCreators"));
  CHECK(dlsym(library, "setLoggerFinder") != nullptr);
  REQUIRE((creators != nullptr));
  std::int32_t count = 0;
  CHECK(creators(count)[0] == registered);
  CHECK(count == 1);
  CHECK(found.empty());
}

TEST_CASE("without a logger finder errors go to TensorRT's logger") {
  Log log;
  setLoggerFinder(nullptr);
  own_log = &log;
  CHECK(create({}, TensorRTPhase::kBUILD) == nullptr);
  CHECK(log.says("the layer has no scale"));
  own_log = nullptr;
}
