// What a manifest may say, all of it, also what running the model does not need: what Python refuses is refused here.
// The rules are those of runtime/artifact/manifest/ too, and tests/data/manifest_cases.json holds both to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "artifact/json_node.h"

namespace deepvit {

constexpr std::size_t kMostGoldenLogits = 64;

// JSON without a byte order mark in which no key stands twice in an object. Throws std::invalid_argument.
nlohmann::json parse_strictly(const std::string& text);

// Passes where every field has its type and range, none is missing and there are no others. Throws
// std::invalid_argument.
void require_schema(const JsonNode& manifest);

}  // namespace deepvit
