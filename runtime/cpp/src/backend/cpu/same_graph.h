// Whether a graph and a manifest are of one export.
#pragma once

#include "artifact/artifact.h"

namespace deepvit {

// Holds what the manifest says of the graph against what the graph, the bytes `model`, says in its metadata; neither
// may say nothing where one speaks. Throws DEEPVIT_INVALID_ARTIFACT.
void require_same_graph(const Artifact& artifact, const Bytes& model);

}  // namespace deepvit
