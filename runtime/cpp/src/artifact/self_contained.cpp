// A walk to every tensor of an ONNX file, by the field numbers of github.com/onnx/onnx/blob/main/onnx/onnx.proto3;
// runtime/artifact/self_contained.py does the same.
#include "artifact/self_contained.h"

#include <cstdint>
#include <optional>
#include <string_view>

#include "artifact/wire.h"
#include "error.h"

namespace deepvit {
namespace {

enum class Kind { kModel, kTraining, kGraph, kFunction, kNode, kAttribute, kSparseTensor, kTensor };

struct Child {
  Kind parent;
  std::uint64_t field;
  Kind kind;
};

// The fields that lead on to a tensor.
constexpr Child kChildren[] = {
    {Kind::kModel, 7, Kind::kGraph},
    {Kind::kModel, 20, Kind::kTraining},
    {Kind::kModel, 25, Kind::kFunction},
    {Kind::kTraining, 1, Kind::kGraph},
    {Kind::kTraining, 2, Kind::kGraph},
    {Kind::kGraph, 1, Kind::kNode},
    {Kind::kGraph, 5, Kind::kTensor},
    {Kind::kGraph, 15, Kind::kSparseTensor},
    {Kind::kFunction, 7, Kind::kNode},
    {Kind::kFunction, 11, Kind::kAttribute},
    {Kind::kNode, 5, Kind::kAttribute},
    {Kind::kAttribute, 5, Kind::kTensor},
    {Kind::kAttribute, 6, Kind::kGraph},
    {Kind::kAttribute, 10, Kind::kTensor},
    {Kind::kAttribute, 11, Kind::kGraph},
    {Kind::kAttribute, 22, Kind::kSparseTensor},
    {Kind::kAttribute, 23, Kind::kSparseTensor},
    {Kind::kSparseTensor, 1, Kind::kTensor},
    {Kind::kSparseTensor, 2, Kind::kTensor},
};
constexpr std::uint64_t kExternalData = 13, kDataLocation = 14;  // of a tensor
constexpr std::uint64_t kNodeType = 4;
constexpr std::string_view kEngineNode = "EPContext";  // a node that names a file with a compiled engine
constexpr int kMostNested = 100;                       // protobuf's own limit
// A file of two bytes a field would be walked for minutes; the largest models have some ten thousand nodes, of some ten
// fields each.
constexpr std::size_t kMostFields = 4'000'000;
constexpr char kDamaged[] = "is not a model that ONNX Runtime can load: it is damaged or not an ONNX file";

std::optional<Kind> child_of(Kind parent, std::uint64_t field) {
  for (const Child& child : kChildren) {
    if (child.parent == parent && child.field == field) return child.kind;
  }
  return std::nullopt;
}

// Why a message cannot be taken; empty where it can.
std::string fault_of(std::string_view message, Kind kind, int depth, std::size_t& fields) {
  if (depth > kMostNested) return "nests more than " + std::to_string(kMostNested) + " deep";
  Field field;
  while (!message.empty()) {
    if (!take_field(message, field) || ++fields > kMostFields) return kDamaged;
    const auto child = field.is_bytes ? child_of(kind, field.number) : std::nullopt;
    if (child) {
      std::string fault = fault_of(field.bytes, *child, depth + 1, fields);
      if (!fault.empty()) return fault;
    } else if (kind == Kind::kTensor && (field.number == kExternalData ||
                                         (field.number == kDataLocation && (field.value != 0 || field.is_bytes)))) {
      return "keeps the values of a tensor in another file, which no hash covers; export again";
    } else if (kind == Kind::kNode && field.number == kNodeType && field.bytes == kEngineNode) {
      return "holds an engine (a node EPContext), expected ONNX operators; export again";
    }
  }
  return {};
}

}  // namespace

void require_self_contained(const std::byte* model, std::size_t bytes, const std::string& name) {
  const std::string_view content(reinterpret_cast<const char*>(model), bytes);
  if (bytes >= 8 && content.substr(4, 4) == "ORTM") {
    throw invalid_artifact(name + " is in ONNX Runtime's own format, expected ONNX; export again");
  }
  std::size_t fields = 0;
  const std::string fault = fault_of(content, Kind::kModel, 0, fields);
  if (!fault.empty()) throw invalid_artifact(name + " (" + std::to_string(bytes) + " bytes) " + fault);
}

}  // namespace deepvit
