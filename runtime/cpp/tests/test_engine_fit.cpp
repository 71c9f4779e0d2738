// The rules of version and compute capability, by the cases that the Python runtime is held to as well.
#include <doctest/doctest.h>

#include "artifact/engine_fit.h"
#include "support.h"

namespace {

// The engine as it is read from a manifest with `changes`.
deepvit::Engine engine_with(const nlohmann::json& changes) {
  auto manifest = nlohmann::json::parse(support::contents(support::artifact("engine") + "/manifest.json"));
  manifest["engines"][0].update(changes);
  return deepvit::parse_manifest(manifest.dump(), "manifest.json").engines.at(0);
}

}  // namespace

TEST_SUITE_BEGIN("engine_fit");

TEST_CASE("every case of the table") {
  const auto table = nlohmann::json::parse(support::contents(ENGINE_FIT_CASES));
  std::size_t refused = 0;
  for (const auto& row : table["cases"]) {
    INFO(row["name"].get<std::string>());
    auto record = table["engine"];
    if (row.contains("engine")) record.update(row["engine"]);
    auto machine = table["machine"];
    if (row.contains("machine")) machine.update(row["machine"]);
    const deepvit::Engine engine = engine_with(record);
    const auto version = deepvit::numbers_of(machine["versions"][engine.backend].get<std::string>());
    auto misfits = nlohmann::json::array();
    if (!deepvit::version_fits(engine, version)) misfits.push_back("version");
    if (!deepvit::capability_fits(engine, machine["compute_capability"].get<std::string>())) {
      misfits.push_back("capability");
    }
    CHECK(misfits == row["misfits"]);
    refused += misfits.empty() ? 0 : 1;
  }
  CHECK(refused >= 15);
  CHECK(table["cases"].size() - refused >= 15);
}

TEST_CASE("a version is the numbers that a text begins with") {
  CHECK(deepvit::numbers_of("11.4.0.106") == deepvit::Version{11, 4, 0, 106});
  CHECK(deepvit::numbers_of("10.0.0b6") == deepvit::Version{10, 0, 0});
  CHECK(deepvit::numbers_of("1.") == deepvit::Version{1});
  CHECK(deepvit::numbers_of("1.x") == deepvit::Version{1});
  for (const char* none : {"", ".", "x", ".1", "99999999999"}) CHECK(deepvit::numbers_of(none).empty());
  deepvit::Engine engine;
  engine.version_compatible = true;  // of no version, as no manifest that Python wrote says
  CHECK_FALSE(deepvit::version_fits(engine, {11, 4, 0, 106}));
  CHECK(deepvit::text_of({11, 4, 0, 106}) == "11.4.0.106");
}

TEST_SUITE_END();
