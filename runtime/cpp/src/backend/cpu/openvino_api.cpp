#include "backend/cpu/openvino_api.h"

#include <sstream>

namespace deepvit::openvino {
namespace {

constexpr char kRemedy[] =
    "OpenVINO is needed: put libopenvino_c.so on the loader's path or name it in options.openvino_library; pip's "
    "openvino "
    "carries it in openvino/libs";

bool begins_with(const std::string& line, const char* beginning) { return line.rfind(beginning, 0) == 0; }

}  // namespace

Api::Api(const std::string& path) : library(path, {"libopenvino_c.so", "libopenvino_c.so.2641"}, kRemedy) {
  const auto find = [this](auto*& function, const char* name) {
    function = library.function<std::remove_reference_t<decltype(*function)>>(name);
  };
  find(get_openvino_version, "ov_get_openvino_version");
  find(version_free, "ov_version_free");
  find(get_last_err_msg, "ov_get_last_err_msg");
  find(free, "ov_free");
  find(core_create, "ov_core_create");
  find(core_free, "ov_core_free");
  find(core_get_property, "ov_core_get_property");
  find(core_read_model_from_memory_buffer, "ov_core_read_model_from_memory_buffer");
  find(core_compile_model, "ov_core_compile_model");
  find(model_free, "ov_model_free");
  find(compiled_model_get_property, "ov_compiled_model_get_property");
  find(compiled_model_inputs_size, "ov_compiled_model_inputs_size");
  find(compiled_model_input_by_index, "ov_compiled_model_input_by_index");
  find(compiled_model_output_by_index, "ov_compiled_model_output_by_index");
  find(compiled_model_create_infer_request, "ov_compiled_model_create_infer_request");
  find(compiled_model_free, "ov_compiled_model_free");
  find(port_get_partial_shape, "ov_port_get_partial_shape");
  find(partial_shape_free, "ov_partial_shape_free");
  find(output_const_port_free, "ov_output_const_port_free");
  find(infer_request_get_input_tensor_by_index, "ov_infer_request_get_input_tensor_by_index");
  find(infer_request_get_output_tensor_by_index, "ov_infer_request_get_output_tensor_by_index");
  find(infer_request_infer, "ov_infer_request_infer");
  find(infer_request_free, "ov_infer_request_free");
  find(tensor_set_shape, "ov_tensor_set_shape");
  find(tensor_get_byte_size, "ov_tensor_get_byte_size");
  find(tensor_data, "ov_tensor_data");
  find(tensor_free, "ov_tensor_free");
}

std::string Api::text_from(char* value) const {
  if (value == nullptr) return {};
  const Owned<const char> owned(value, {free});
  return owned.get();
}

std::string Api::reason() const {
  std::istringstream lines(text_from(const_cast<char*>(get_last_err_msg())));
  std::string said;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || begins_with(line, "Exception from") || begins_with(line, "Check '")) continue;
    said += (said.empty() ? "" : " ") + line;
  }
  return said.empty() ? "it does not say why" : said.substr(0, 200);
}

}  // namespace deepvit::openvino
