// TensorRT's log. TensorRT keeps the first logger that it is given and goes on writing to it, whichever model that came
// with: there is one for the process, which is never destroyed. What it hears belongs to the thread that it hears it
// in.
#pragma once

#include <NvInferRuntime.h>

#include <cstdio>
#include <string>
#include <utility>

#include "error.h"
#include "options.h"

namespace deepvit {

class TensorRtLog final : public nvinfer1::ILogger {
 public:
  static TensorRtLog& of_process() {
    static auto* const log = new TensorRtLog();
    return *log;
  }

  void log(Severity severity, const char* message) noexcept override {
    if (severity == Severity::kERROR || severity == Severity::kINTERNAL_ERROR) {
      std::snprintf(last_error_, sizeof last_error_, "%s", message);
    }
    try {
      if (severity == Severity::kWARNING && listener_ != nullptr) {
        (*listener_)(DEEPVIT_LOG_INFO, std::string("TensorRT: ") + message);
      }
    } catch (...) {  // TensorRT must not see an exception; what is lost is a line of its log
    }
  }

  // Throws DEEPVIT_DEVICE_FAILED where `is_done` is false, with what TensorRT said last in this thread since the last
  // call that was done.
  static void require(bool is_done, const std::string& what) {
    const std::string why = is_done ? "" : last_error_;
    last_error_[0] = '\0';
    if (is_done) return;
    throw device_failed("TensorRT could not " + what + ": " + (why.empty() ? "it does not say why" : why));
  }

  // While it lives, this thread's warnings go to `log`, which must outlive it; those of other threads go nowhere.
  class Listener {
   public:
    explicit Listener(const Log& log) : before_(std::exchange(listener_, &log)) { last_error_[0] = '\0'; }
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener() { listener_ = before_; }

   private:
    const Log* const before_;
  };

 private:
  TensorRtLog() = default;

  // Without destructors: TensorRT may write to the log when a thread's other objects are gone, as at the process's end.
  static inline thread_local char last_error_[1024] = {};
  static inline thread_local const Log* listener_ = nullptr;
};

}  // namespace deepvit
