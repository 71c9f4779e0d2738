#include "backend/shared_library.h"

#include <dlfcn.h>

#include "error.h"

namespace deepvit {
namespace {

std::string why() {
  const char* text = dlerror();
  return text == nullptr ? "no reason given" : text;
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& path, const std::vector<std::string>& names, const std::string& remedy)
    : handle_(nullptr) {
  std::string first_reason;
  for (const std::string& name : path.empty() ? names : std::vector<std::string>{path}) {
    handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      name_ = name;
      return;
    }
    const std::string reason = why();
    if (first_reason.empty()) first_reason = reason;
  }
  throw missing(first_reason + "; " + remedy);
}

bool SharedLibrary::has(const char* function) const { return dlsym(handle_, function) != nullptr; }

void* SharedLibrary::symbol(const char* name) const {
  void* found = dlsym(handle_, name);
  if (found == nullptr) throw missing(name_ + " has no " + name + "; it is another library, or too old");
  return found;
}

}  // namespace deepvit
