// deepvit_options, checked, as the rest of the library takes them.
#pragma once

#include <functional>
#include <string>

#include "deepvit/deepvit.h"
#include "image/image.h"

namespace deepvit {

using Log = std::function<void(deepvit_log_level, const std::string&)>;

struct Options {
  deepvit_backend backend = DEEPVIT_BACKEND_AUTO;
  int threads = 0;   // 0: as many as there are cores
  int contexts = 2;  // one computes while the other's thread prepares
  int device = 0;
  int max_megapixels = kMegapixels;
  bool allow_host_code = false;
  std::string onnxruntime_library;  // empty: by the loader's search path
  std::string tensorrt_library;
  std::string cuda_library;
  std::string openvino_library;
  std::string plugin_library;  // empty: what $DEEPVIT_PLUGIN names
  Log log = [](deepvit_log_level, const std::string&) {};
};

// Reads the caller's struct, which may be an older, shorter one; throws where a newer one asks for what is not here.
Options options_from(const deepvit_options* given);

}  // namespace deepvit
