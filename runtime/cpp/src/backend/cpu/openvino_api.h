// What is used of OpenVINO's C API, declared as its documentation has it (docs.openvino.ai, "OpenVINO C API").
//
// Not by its headers: a build would need them for twenty functions, and an enum in them changes its numbers between
// releases (of element types; none is used here). A library that lacks one of the functions is refused by its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "backend/shared_library.h"

namespace deepvit::openvino {

// Handles, of which nothing is known here.
struct Core;
struct Graph;  // ov_model_t
struct Compiled;
struct Port;  // ov_output_const_port_t
struct Request;
struct Tensor;

using Status = int;  // 0: it went well

struct Version {
  const char* number;
  const char* description;
};

struct Shape {
  std::int64_t rank;
  std::int64_t* dims;
};

struct Dimension {  // from … to; fixed where both are the same
  std::int64_t min;
  std::int64_t max;
};

struct PartialShape {
  Dimension rank;
  Dimension* dims;
};

// Each of the C functions "ov_" + its name here.
struct Api {
  // Throws DEEPVIT_MISSING: no such library, or one without these functions. `path` may be empty.
  explicit Api(const std::string& path);

  SharedLibrary library;
  Status (*get_openvino_version)(Version*);
  void (*version_free)(Version*);
  const char* (*get_last_err_msg)();
  void (*free)(const char*);
  Status (*core_create)(Core**);
  void (*core_free)(Core*);
  Status (*core_get_property)(const Core*, const char* device, const char* key, char** value);
  Status (*core_read_model_from_memory_buffer)(const Core*, const char*, std::size_t, const Tensor* weights, Graph**);
  Status (*core_compile_model)(const Core*, const Graph*, const char* device, std::size_t arguments, Compiled**, ...);
  void (*model_free)(Graph*);
  Status (*compiled_model_get_property)(const Compiled*, const char* key, char** value);
  Status (*compiled_model_inputs_size)(const Compiled*, std::size_t*);
  Status (*compiled_model_input_by_index)(const Compiled*, std::size_t, Port**);
  Status (*compiled_model_output_by_index)(const Compiled*, std::size_t, Port**);
  Status (*compiled_model_create_infer_request)(const Compiled*, Request**);
  void (*compiled_model_free)(Compiled*);
  Status (*port_get_partial_shape)(const Port*, PartialShape*);
  void (*partial_shape_free)(PartialShape*);
  void (*output_const_port_free)(Port*);
  Status (*infer_request_get_input_tensor_by_index)(const Request*, std::size_t, Tensor**);
  Status (*infer_request_get_output_tensor_by_index)(const Request*, std::size_t, Tensor**);
  Status (*infer_request_infer)(Request*);
  void (*infer_request_free)(Request*);
  Status (*tensor_set_shape)(Tensor*, Shape);
  Status (*tensor_get_byte_size)(const Tensor*, std::size_t*);
  Status (*tensor_data)(const Tensor*, void**);
  void (*tensor_free)(Tensor*);

  // What OpenVINO says went wrong, in one line, without where in its sources it says so.
  std::string reason() const;

  // A text that it gave and this frees.
  std::string text_from(char* value) const;
};

template <typename Handle>
struct FreeHandle {
  void (*function)(Handle*) = nullptr;  // of a library that is never unloaded
  void operator()(Handle* handle) const noexcept { function(handle); }
};

template <typename Handle>
using Owned = std::unique_ptr<Handle, FreeHandle<Handle>>;

}  // namespace deepvit::openvino
