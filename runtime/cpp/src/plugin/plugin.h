// TensorRT's plugin of fused re-attention: loaded only where it is what the record beside it says, and fits TensorRT,
// GPU and engine. The rules, and why they are so, are runtime/kernels/plugin_record.py's.
#pragma once

#include <string>

#include "artifact/manifest.h"
#include "backend/shared_library.h"
#include "options.h"

namespace deepvit {

struct PluginUse {
  std::string engine;              // what errors call it
  std::string backend;             // tensorrt or tensorrt-rtx
  int major = 0;                   // of its version
  std::string compute_capability;  // of the GPU, as in "9.0"
};

// Loads the library that `options` or $DEEPVIT_PLUGIN name into TensorRT's registry, once in a process, from memory:
// what was hashed is what is opened. Throws DEEPVIT_MISSING where it does not fit; then nothing was loaded.
void load_plugin(const EnginePlugin& built_with, const PluginUse& use, const SharedLibrary& tensorrt,
                 const Options& options);

}  // namespace deepvit
