// Read from the file's bytes: OpenVINO's C API does not give an ONNX file's metadata. runtime/artifact/metadata.py
// does so too.
#include "backend/cpu/same_graph.h"

#include <optional>
#include <string>
#include <string_view>

#include "artifact/wire.h"
#include "error.h"

namespace deepvit {
namespace {

constexpr std::string_view kIdentity = "deepvit";  // the key of runtime/artifact/manifest/identity.py
constexpr std::uint64_t kMetadata = 14;            // of a model, in onnx.proto3
constexpr std::uint64_t kKey = 1, kValue = 2;      // of an entry

std::optional<std::string> identity_in(const Bytes& model, const std::string& name) {
  std::string_view rest(reinterpret_cast<const char*>(model.data()), model.size());
  std::optional<std::string> found;
  for (Field field; take_field(rest, field);) {
    if (field.number != kMetadata || !field.is_bytes) continue;
    std::string_view entry = field.bytes, key, value;
    for (Field part; take_field(entry, part);) {
      if (part.number == kKey) key = part.bytes;
      if (part.number == kValue) value = part.bytes;
    }
    if (key != kIdentity) continue;
    if (found) throw invalid_artifact(name + " says twice in its metadata what it is; export again");
    found = value;
  }
  return found;
}

}  // namespace

void require_same_graph(const Artifact& artifact, const Bytes& model) {
  const std::string graph = artifact.path("model.onnx"), manifest = artifact.path("manifest.json");
  const std::optional<std::string> said = identity_in(model, graph);
  const bool has_golden = artifact.manifest().golden.has_value();
  if (!said && !has_golden) return;  // of an earlier version
  if (!said || !has_golden) {
    throw invalid_artifact((said ? manifest + " has no golden" : graph + " does not say what it is") +
                           ", the other of both does: they are not of one export; export again");
  }
  const std::string fault = difference(artifact.manifest(), *said);
  if (!fault.empty()) throw invalid_artifact(graph + " is not what manifest.json says: " + fault + "; export again");
}

}  // namespace deepvit
