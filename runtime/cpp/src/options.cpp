#include "options.h"

#include <algorithm>
#include <cstring>

#include "error.h"

namespace deepvit {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kMostContexts = 64;

std::string text_from(const char* text) { return text == nullptr ? std::string() : std::string(text); }

int within(const char* name, int value, int most) {
  if (value < 0 || value > most) {
    throw invalid_argument(std::string(name) + " is " + std::to_string(value) + ", expected 0 to " +
                           std::to_string(most));
  }
  return value;
}

deepvit_options copied(const deepvit_options& given) {
  const std::size_t size = given.struct_size;
  if (size < offsetof(deepvit_options, backend) + sizeof(given.backend) || size > 4096) {
    throw invalid_argument("options.struct_size is " + std::to_string(size) + "; start from DEEPVIT_OPTIONS_INIT");
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(&given);
  if (size > sizeof(deepvit_options) &&
      std::any_of(bytes + sizeof(deepvit_options), bytes + size, [](unsigned char byte) { return byte != 0; })) {
    throw invalid_argument("options has a field that this library does not know; it is older than the program");
  }
  deepvit_options known = DEEPVIT_OPTIONS_INIT;
  std::memcpy(&known, &given, std::min(size, sizeof known));
  return known;
}

}  // namespace

Options options_from(const deepvit_options* given) {
  Options options;
  if (given == nullptr) return options;
  const deepvit_options known = copied(*given);
  options.backend = within("options.backend", known.backend, DEEPVIT_BACKEND_OPENVINO);
  options.threads = within("options.threads", known.threads, kMostThreads);
  options.device = within("options.device", known.device, kMostThreads);
  if (within("options.contexts", known.contexts, kMostContexts) != 0) options.contexts = known.contexts;
  if (within("options.max_megapixels", known.max_megapixels, kMostMegapixels) != 0) {
    options.max_megapixels = known.max_megapixels;
  }
  options.allow_host_code = known.allow_host_code != 0;
  options.onnxruntime_library = text_from(known.onnxruntime_library);
  options.tensorrt_library = text_from(known.tensorrt_library);
  options.cuda_library = text_from(known.cuda_library);
  options.openvino_library = text_from(known.openvino_library);
  options.plugin_library = text_from(known.plugin_library);
  if (known.log != nullptr) {
    options.log = [log = known.log, user_data = known.log_user_data](deepvit_log_level level, const std::string& text) {
      log(user_data, level, text.c_str());
    };
  }
  return options;
}

}  // namespace deepvit
