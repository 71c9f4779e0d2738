// OpenVINO as somebody would call it who does not say what to compute in: every function is its own, but compiling a
// model takes no hint of precision.
#include <dlfcn.h>

#include <cstring>

using Compile = int(const void*, const void*, const char*, std::size_t, void**, ...);

extern "C" int ov_core_compile_model(const void* core, const void* model, const char* device, std::size_t arguments,
                                     void** compiled, const char* key, const char* value, const char* hint) {
  if (arguments < 4 || std::strcmp(hint, "INFERENCE_PRECISION_HINT") != 0) return -1;
  const auto compile = reinterpret_cast<Compile*>(dlsym(RTLD_NEXT, "ov_core_compile_model"));
  return compile(core, model, device, 2, compiled, key, value);
}
