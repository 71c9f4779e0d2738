// What the library throws inside; c_api.cpp turns it into a status and a line of text.
#pragma once

#include <stdexcept>
#include <string>

#include "deepvit/deepvit.h"

namespace deepvit {

class Failure : public std::runtime_error {
 public:
  Failure(deepvit_status which, const std::string& message) : std::runtime_error(message), status(which) {}
  const deepvit_status status;
};

inline Failure invalid_argument(const std::string& message) { return {DEEPVIT_INVALID_ARGUMENT, message}; }
inline Failure invalid_artifact(const std::string& message) { return {DEEPVIT_INVALID_ARTIFACT, message}; }
inline Failure invalid_image(const std::string& message) { return {DEEPVIT_INVALID_IMAGE, message}; }
inline Failure missing(const std::string& message) { return {DEEPVIT_MISSING, message}; }
inline Failure device_failed(const std::string& message) { return {DEEPVIT_DEVICE_FAILED, message}; }

}  // namespace deepvit
