// What the tests ask of the TensorRT that exists in memory only.
#pragma once

extern "C" {
__attribute__((visibility("default"))) int fake_nvinfer_loaded(void);
// The content of the library that the registry loaded last, how many it loaded, and that it refuses from now on.
__attribute__((visibility("default"))) const char* fake_nvinfer_plugin(void);
__attribute__((visibility("default"))) int fake_nvinfer_plugins(void);
__attribute__((visibility("default"))) void fake_nvinfer_refuse_plugins(bool is_refused);
// Log this as an error in every run, which succeeds all the same; nothing where it is empty.
__attribute__((visibility("default"))) void fake_nvinfer_complain(const char* message);
// Refuse to run from now on, without a word.
__attribute__((visibility("default"))) void fake_nvinfer_refuse_runs(bool is_refused);
// Of TensorRT-RTX: how often kernels were compiled, how often a graph recorded generic ones, and how often its cache
// was read during a run.
__attribute__((visibility("default"))) int fake_nvinfer_compiled(void);
__attribute__((visibility("default"))) int fake_nvinfer_generic(void);
__attribute__((visibility("default"))) int fake_nvinfer_read_early(void);
}
