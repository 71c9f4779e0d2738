// Classifies images from C++: consumer_cpp ARTIFACT IMAGE [libonnxruntime.so.1]
#include <algorithm>
#include <cstddef>
#include <deepvit/deepvit.hpp>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: " << argv[0] << " ARTIFACT IMAGE [libonnxruntime.so.1]\n";
    return 2;
  }
  deepvit_options options = DEEPVIT_OPTIONS_INIT;
  if (argc > 3) options.onnxruntime_library = argv[3];
  try {
    const deepvit::Model model(argv[1], options);
    std::ifstream file(argv[2], std::ios::binary);
    const std::string image{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    for (const auto& answer : model.classify({{image.data(), image.size()}})) {
      deepvit::check(answer.status);
      const auto best = std::max_element(answer.logits.begin(), answer.logits.end());
      const auto index = static_cast<std::size_t>(best - answer.logits.begin());
      std::cout << model.info().backend << ": class " << index << ", " << model.class_name(index) << ", logit " << *best
                << '\n';
    }
  } catch (const deepvit::Error& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
}
