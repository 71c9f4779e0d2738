// A library that is looked for when the program runs, so that neither building nor starting needs it.
#pragma once

#include <string>
#include <vector>

namespace deepvit {

// Never unloaded: ONNX Runtime, OpenVINO, TensorRT and CUDA keep threads and exit handlers.
class SharedLibrary {
 public:
  // Loads `path`, or where that is empty the first of `names` that the loader finds. Throws DEEPVIT_MISSING with
  // `remedy`, which says what to do.
  SharedLibrary(const std::string& path, const std::vector<std::string>& names, const std::string& remedy);

  // The function of this name, as the type that its header declares. Throws DEEPVIT_MISSING.
  template <typename Function>
  Function* function(const char* name) const {
    return reinterpret_cast<Function*>(symbol(name));
  }

  bool has(const char* function) const;

  const std::string& name() const { return name_; }

 private:
  void* symbol(const char* name) const;

  std::string name_;
  void* handle_;
};

}  // namespace deepvit
