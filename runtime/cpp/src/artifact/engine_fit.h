// Whether an engine can run on a machine, by what its manifest says. The rules are those of runtime/trt/fit.py too, and
// tests/data/engine_fit_cases.json holds both to them.
#pragma once

#include <string>
#include <vector>

#include "artifact/manifest.h"

namespace deepvit {

using Version = std::vector<int>;

// The numbers that `text` begins with: {11, 4, 0, 106} of "11.4.0.106".
Version numbers_of(const std::string& text);
std::string text_of(const Version& version);

// A plan loads in the very build that wrote it; a version-compatible one also in later ones of its major. Of TensorRT
// itself the numbers are major, minor, patch and build.
bool version_fits(const Engine& engine, const Version& here);

// `here` as in "8.9".
bool capability_fits(const Engine& engine, const std::string& here);

}  // namespace deepvit
