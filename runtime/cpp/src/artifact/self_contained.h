// Whether an ONNX file is whole in itself, found without any library that would go and look for the rest.
#pragma once

#include <cstddef>
#include <string>

namespace deepvit {

// Throws DEEPVIT_INVALID_ARTIFACT: a tensor of the ONNX file has its values in another file, wherever in it the tensor
// is, or a node its engine; or the bytes are damaged, or of another format. `name` is what the error calls it.
void require_self_contained(const std::byte* model, std::size_t bytes, const std::string& name);

}  // namespace deepvit
