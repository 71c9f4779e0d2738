/* deepvit: run an artifact from C. This is the whole ABI; deepvit.hpp wraps it for C++.
 *
 * A model may be used by any number of threads at once, and must outlive their calls. Nothing is printed and nothing is
 * thrown: every call answers with a status, and deepvit_last_error() says why, in one line, for the calling thread.
 */
#ifndef DEEPVIT_DEEPVIT_H
#define DEEPVIT_DEEPVIT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DEEPVIT_API __attribute__((visibility("default")))
#else
#define DEEPVIT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a struct or a function here changes its meaning; fields appended to a struct do not raise it. */
#define DEEPVIT_ABI_VERSION 1

/* What a call came to. The numbers stay as they are; new ones are appended. */
typedef int32_t deepvit_status;
#define DEEPVIT_OK 0
#define DEEPVIT_NOT_FINITE 1       /* it ran, and some logits are NaN or infinite: the precision overflows */
#define DEEPVIT_INVALID_ARGUMENT 2 /* a null pointer, a wrong size, an option that is not there */
#define DEEPVIT_INVALID_ARTIFACT 3 /* no artifact, or not what was exported: manifest, hash, model */
#define DEEPVIT_INVALID_IMAGE 4    /* neither a JPEG nor a PNG, truncated, damaged, or too large */
#define DEEPVIT_MISSING 5          /* this machine lacks a library, a GPU, or what the engine was built for */
#define DEEPVIT_DEVICE_FAILED 6    /* ONNX Runtime, OpenVINO, TensorRT or CUDA refused */
#define DEEPVIT_OUT_OF_MEMORY 7
#define DEEPVIT_INTERNAL 8 /* an error of this library */

typedef int32_t deepvit_backend;
#define DEEPVIT_BACKEND_AUTO 0         /* the first engine that fits this machine, else the graph on the CPU */
#define DEEPVIT_BACKEND_ONNXRUNTIME 1  /* model.onnx on the CPU */
#define DEEPVIT_BACKEND_TENSORRT 2     /* engine.plan */
#define DEEPVIT_BACKEND_TENSORRT_RTX 3 /* engine.rtx.plan */
#define DEEPVIT_BACKEND_OPENVINO 4     /* model.onnx on the CPU; AUTO chooses it for BF16 where the CPU has that */

typedef int32_t deepvit_log_level;
#define DEEPVIT_LOG_INFO 0
#define DEEPVIT_LOG_WARNING 1
#define DEEPVIT_LOG_ERROR 2

/* Called from any thread, perhaps from several at once; `message` is valid during the call. */
typedef void (*deepvit_log_callback)(void* user_data, deepvit_log_level level, const char* message);

/* Zero means the default everywhere: deepvit_options options = DEEPVIT_OPTIONS_INIT; */
typedef struct deepvit_options {
  size_t struct_size;              /* sizeof(deepvit_options) as the caller was compiled */
  deepvit_backend backend;         /* DEEPVIT_BACKEND_AUTO */
  int32_t threads;                 /* of one run on the CPU; as many as there are cores */
  int32_t contexts;                /* TensorRT runs under way at once, each with its own buffers; 2 */
  int32_t device;                  /* the GPU that an engine runs on, as CUDA counts; a graph runs on the CPU */
  int32_t allow_host_code;         /* not 0: a version-compatible plan may run the host code that it brings */
  int32_t max_megapixels;          /* larger images are refused, before they are decoded; 50, at most 178 */
  const char* onnxruntime_library; /* path; libonnxruntime.so.1 by the loader's search path */
  const char* tensorrt_library;    /* path; libnvinfer.so, libnvinfer_lean.so or libtensorrt_rtx.so likewise */
  const char* cuda_library;        /* path; libcudart.so likewise */
  deepvit_log_callback log;        /* nobody hears */
  void* log_user_data;
  const char* openvino_library; /* path; libopenvino_c.so by the loader's search path */
  const char* plugin_library;   /* path; the plugin of fused re-attention that $DEEPVIT_PLUGIN names */
} deepvit_options;
#define DEEPVIT_OPTIONS_INIT {sizeof(deepvit_options), 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL}

/* What a model takes and gives; the strings live as long as the model. */
typedef struct deepvit_info {
  size_t struct_size;     /* sizeof(deepvit_info), set by the caller */
  const char* variant;    /* "deepvit_32" */
  const char* precision;  /* "fp16" */
  const char* backend;    /* what runs it, and how: "ONNX Runtime 1.31.1 on the CPU" */
  size_t classes;         /* logits per image */
  size_t crop;            /* side of the centred square, in pixels */
  size_t input_bytes;     /* of one image in the layout that the model takes */
  size_t batch_max;       /* larger batches are split */
  int32_t takes_uint8;    /* 1: (B, crop, crop, 3) uint8; 0: (B, 3, crop, crop) float32, normalised */
  int32_t random_weights; /* 1: the weights are random, the answers mean nothing */
} deepvit_info;

typedef struct deepvit_model deepvit_model;

/* A run that was begun. */
typedef struct deepvit_run_pending deepvit_run_pending;

/* One encoded image. */
typedef struct deepvit_bytes {
  const void* data;
  size_t size;
} deepvit_bytes;

/* The ABI that the library was built with; compare with DEEPVIT_ABI_VERSION. */
DEEPVIT_API uint32_t deepvit_abi_version(void);

/* Why the last call of this thread did not give DEEPVIT_OK: one line of UTF-8, empty after a success, never null. */
DEEPVIT_API const char* deepvit_last_error(void);

/* Opens an artifact folder; every file is held against its SHA-256 before anything is loaded from it.
 * `options` may be null. On failure `*model` is null. */
DEEPVIT_API deepvit_status deepvit_open(const char* folder, const deepvit_options* options, deepvit_model** model);

/* Frees a model whose calls have all returned; null is allowed. */
DEEPVIT_API void deepvit_close(deepvit_model* model);

DEEPVIT_API deepvit_status deepvit_get_info(const deepvit_model* model, deepvit_info* info);

/* The name of the class of logit `index`, in UTF-8 without control characters; it lives as long as the model. Null
 * where the artifact names no classes, or has no such one. */
DEEPVIT_API const char* deepvit_class_name(const deepvit_model* model, size_t index);

/* Decodes, resizes and crops one JPEG or PNG: (crop, crop, 3) uint8 RGB, the bytes that the Python runtime gives.
 * `capacity`: bytes at `crop`, at least crop · crop · 3. */
DEEPVIT_API deepvit_status deepvit_crop_encoded(const deepvit_model* model, const void* data, size_t size,
                                                uint8_t* crop, size_t capacity);

/* Turns `count` crops into what deepvit_run takes. `capacity`: bytes at `input`, at least count · input_bytes. */
DEEPVIT_API deepvit_status deepvit_input_from_crops(const deepvit_model* model, const uint8_t* crops, size_t count,
                                                    void* input, size_t capacity);

/* Runs preprocessed images. `input`: count · input_bytes bytes; `logits`: (count, classes) float32.
 * `capacity`: floats at `logits`, at least count · classes. DEEPVIT_NOT_FINITE leaves the logits as they came. */
DEEPVIT_API deepvit_status deepvit_run(deepvit_model* model, const void* input, size_t count, float* logits,
                                       size_t capacity);

/* Begins what deepvit_run does, and does not wait for an engine: it copies the images of one run while it computes
 * another, `options.contexts` at once; where all are under way the oldest is waited for, and its logits kept. A graph
 * on the CPU runs before this returns. `input` can be changed afterwards. On failure `*run` is null; what the run
 * itself fails with deepvit_wait gives. */
DEEPVIT_API deepvit_status deepvit_begin(deepvit_model* model, const void* input, size_t count,
                                         deepvit_run_pending** run);

/* Waits for a run, of one thread at a time, and gives what deepvit_run would; again, it gives the same again. Nobody
 * has to wait: a model can be closed with runs under way, and what they computed is there still. */
DEEPVIT_API deepvit_status deepvit_wait(deepvit_run_pending* run, float* logits, size_t capacity);

/* Frees a run, waited for or not; null is allowed. */
DEEPVIT_API void deepvit_free_run(deepvit_run_pending* run);

/* From encoded images to logits. `statuses`, one per image, may be null where count is 1. An image that cannot be
 * decoded, or whose logits are not finite, gets its status and logits of zero, and the others their answers; the call
 * then gives the first such status, and the message names every one of them. */
DEEPVIT_API deepvit_status deepvit_classify_encoded(deepvit_model* model, const deepvit_bytes* images, size_t count,
                                                    float* logits, size_t capacity, deepvit_status* statuses);

#ifdef __cplusplus
}
#endif

#endif
