// Classifies image files with an artifact: classify LIBONNXRUNTIME ARTIFACT IMAGE …
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <deepvit/deepvit.hpp>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

std::string contents_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void print_best(const deepvit::Model& model, const char* image, const std::vector<float>& logits) {
  const auto best = std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - *best);
  const std::string name = model.class_name(static_cast<std::size_t>(best - logits.begin()));
  std::printf("%s: %s, %.1f%%\n", image, name.c_str(), 100 / sum);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s LIBONNXRUNTIME ARTIFACT IMAGE …\n", argv[0]);
    return 2;
  }
  try {
    deepvit_options options = DEEPVIT_OPTIONS_INIT;
    options.onnxruntime_library = argv[1];
    const deepvit::Model model(argv[2], options);  // verified; threads may share it
    for (int i = 3; i < argc; ++i) {
      const std::string image = contents_of(argv[i]);
      const auto answers = model.classify({{image.data(), image.size()}});
      deepvit::check(answers.front().status);
      print_best(model, argv[i], answers.front().logits);
    }
  } catch (const deepvit::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
