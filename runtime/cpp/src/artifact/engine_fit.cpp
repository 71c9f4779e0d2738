#include "artifact/engine_fit.h"

#include <charconv>
#include <sstream>
#include <system_error>

namespace deepvit {

Version numbers_of(const std::string& text) {
  Version numbers;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end; ++at) {
    int number = 0;
    const auto [next, fault] = std::from_chars(at, end, number);
    if (fault != std::errc()) break;
    numbers.push_back(number);
    at = next;
    if (at == end || *at != '.') break;
  }
  return numbers;
}

std::string text_of(const Version& version) {
  std::string text;
  for (int number : version) text += (text.empty() ? "" : ".") + std::to_string(number);
  return text;
}

bool version_fits(const Engine& engine, const Version& here) {
  const Version built = numbers_of(engine.version);
  if (!engine.version_compatible) return built == here;
  if (built.empty() || here.empty() || here < built) return false;
  return built[0] == here[0] || (built[0] == 10 && here[0] == 11);  // the only two majors of which it is so
}

bool capability_fits(const Engine& engine, const std::string& here) {
  if (engine.hardware_compatible == HardwareCompatibility::ampere_plus) return numbers_of(here) >= Version{8, 0};
  std::stringstream capabilities(engine.compute_capability);
  for (std::string one; std::getline(capabilities, one, ',');) {
    if (one == here) return true;
  }
  return false;
}

}  // namespace deepvit
