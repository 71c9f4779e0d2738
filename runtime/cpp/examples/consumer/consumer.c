/* Classifies one image from C99: consumer_c ARTIFACT IMAGE [libonnxruntime.so.1] */
#include <deepvit/deepvit.h>
#include <stdio.h>
#include <stdlib.h>

static void* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  void* data = NULL;
  long length = 0;
  if (file == NULL) return NULL;
  if (fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0) {
    data = malloc((size_t)length);
  }
  if (data != NULL && fread(data, 1, (size_t)length, file) != (size_t)length) {
    free(data);
    data = NULL;
  }
  fclose(file);
  *size = (size_t)length;
  return data;
}

static int classify(deepvit_model* model, deepvit_bytes image) {
  deepvit_info info;
  const char* name;
  float* logits;
  size_t best = 0, i;
  info.struct_size = sizeof info;
  if (deepvit_get_info(model, &info) != DEEPVIT_OK) return 1;
  logits = malloc(info.classes * sizeof *logits);
  if (logits == NULL) return 1;
  if (deepvit_classify_encoded(model, &image, 1, logits, info.classes, NULL) != DEEPVIT_OK) {
    free(logits);
    return 1;
  }
  for (i = 1; i < info.classes; ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  name = deepvit_class_name(model, best);
  printf("%s: class %lu, %s, logit %f\n", info.backend, (unsigned long)best, name == NULL ? "without a name" : name,
         (double)logits[best]);
  free(logits);
  return 0;
}

int main(int argc, char** argv) {
  deepvit_options options = DEEPVIT_OPTIONS_INIT;
  deepvit_model* model = NULL;
  deepvit_bytes image = {NULL, 0};
  void* data;
  int failed;
  if (argc < 3 || deepvit_abi_version() != DEEPVIT_ABI_VERSION) {
    fprintf(stderr, "usage: %s ARTIFACT IMAGE [libonnxruntime.so.1]\n", argv[0]);
    return 2;
  }
  if (argc > 3) options.onnxruntime_library = argv[3];
  data = read_file(argv[2], &image.size);
  image.data = data;
  failed = data == NULL || deepvit_open(argv[1], &options, &model) != DEEPVIT_OK || classify(model, image) != 0;
  if (failed) fprintf(stderr, "error: %s\n", data == NULL ? "the image cannot be read" : deepvit_last_error());
  deepvit_close(model);
  free(data);
  return failed;
}
