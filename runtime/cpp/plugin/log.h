// The library's errors, one line each, in TensorRT's log.
#pragma once

#include <NvInferRuntime.h>

#include <exception>
#include <string>

namespace reattention {

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

// To the logger that TensorRT hands to plugins, else to TensorRT's own, else to stderr.
void log_error(const std::string& line) noexcept;

// A function of the TensorRT in this process, or null: this library is linked with none.
void* tensorrt_symbol(const char* name) noexcept;

// Returns what `work` does; where it throws, logs why and returns `otherwise`. Nothing is thrown through TensorRT.
template <typename Result, typename Work>
Result guarded(Result otherwise, Work work) noexcept {
  try {
    return work();
  } catch (const std::exception& error) {
    log_error(error.what());
  } catch (...) {
    log_error("it does not say why");
  }
  return otherwise;
}

}  // namespace reattention
