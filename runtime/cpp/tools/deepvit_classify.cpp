// deepvit-classify: what an artifact makes of images, from the command line.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <new>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "artifact/sha256.h"
#include "deepvit/deepvit.hpp"

namespace {

constexpr char kUsage[] =
    "Usage: deepvit-classify [options] ARTIFACT IMAGE…\n"
    "\n"
    "Classify JPEG and PNG files with an artifact that `python cli.py export` wrote.\n"
    "\n"
    "  --top N              how many classes to show; 5\n"
    "  --labels FILE        a name per class, one per line; the artifact's own if not given\n"
    "  --json               an object per line: classes, logits, and the SHA-256 of the crop\n"
    "  --backend NAME       auto, onnxruntime, openvino, tensorrt or tensorrt-rtx\n"
    "  --max-megapixels N   larger images are refused; 50, at most 178\n"
    "  --threads N          on the CPU; as many as there are cores\n"
    "  --onnxruntime FILE   libonnxruntime.so.1, where the loader does not find it\n"
    "  --openvino FILE      libopenvino_c.so, likewise\n"
    "  --tensorrt FILE      libnvinfer.so or libtensorrt_rtx.so, likewise\n"
    "  --cuda FILE          libcudart.so, likewise\n"
    "  --allow-host-code    let a version-compatible plan run its own code\n"
    "  --verbose            show the log\n"
    "\n"
    "Exit codes: 0 done; 1 logits are not finite; 2 wrong usage or input; 3 something this machine lacks;\n"
    "70 an error of ours.\n"
    "Example: deepvit-classify artifacts/deepvit_32-fp32 photo.jpg\n";

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Arguments {
  deepvit_options options = DEEPVIT_OPTIONS_INIT;
  std::size_t top = 5;
  std::string labels;
  bool is_json = false;
  std::string artifact;
  std::vector<std::string> images;
};

int number_from(const std::string& option, const std::string& text, int least) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < least || value > 1'000'000) {
    throw UsageError(option + " " + text + ": expected a number of at least " + std::to_string(least));
  }
  return static_cast<int>(value);
}

deepvit_backend backend_from(const std::string& text) {
  const char* names[] = {"auto", "onnxruntime", "tensorrt", "tensorrt-rtx", "openvino"};  // by their numbers
  for (int i = 0; i < 5; ++i) {
    if (text == names[i]) return i;
  }
  throw UsageError("--backend " + text + ": expected auto, onnxruntime, openvino, tensorrt or tensorrt-rtx");
}

void print_log(void*, deepvit_log_level, const char* message) { std::fprintf(stderr, "%s\n", message); }

// Sets one option; `value()` takes the next argument.
template <typename Value>
void set_option(Arguments& parsed, const std::string& option, const Value& value) {
  if (option == "--top")
    parsed.top = static_cast<std::size_t>(number_from(option, value(), 1));
  else if (option == "--labels")
    parsed.labels = value();
  else if (option == "--json")
    parsed.is_json = true;
  else if (option == "--backend")
    parsed.options.backend = backend_from(value());
  else if (option == "--max-megapixels")
    parsed.options.max_megapixels = number_from(option, value(), 1);
  else if (option == "--threads")
    parsed.options.threads = number_from(option, value(), 1);
  else if (option == "--onnxruntime")
    parsed.options.onnxruntime_library = value();
  else if (option == "--openvino")
    parsed.options.openvino_library = value();
  else if (option == "--tensorrt")
    parsed.options.tensorrt_library = value();
  else if (option == "--cuda")
    parsed.options.cuda_library = value();
  else if (option == "--allow-host-code")
    parsed.options.allow_host_code = 1;
  else if (option == "--verbose")
    parsed.options.log = print_log;
  else
    throw UsageError(option + " is no option; see --help");
}

Arguments arguments_from(int argc, char** argv) {
  Arguments parsed;
  std::vector<std::string> rest;
  bool is_over = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--" && !is_over) {
      is_over = true;
    } else if (!is_over && argument.rfind("--", 0) == 0) {
      set_option(parsed, argument, [&]() -> const char* {
        if (i + 1 >= argc) throw UsageError(argument + " needs a value");
        return argv[++i];
      });
    } else {
      rest.push_back(argument);
    }
  }
  if (rest.size() < 2) throw UsageError("expected an artifact and at least one image; see --help");
  parsed.artifact = rest[0];
  parsed.images.assign(rest.begin() + 1, rest.end());
  return parsed;
}

// The user's names, else the artifact's, else none.
std::vector<std::string> labels_from(const std::string& path, const deepvit::Model& model) {
  const std::size_t classes = model.info().classes;
  std::vector<std::string> labels;
  if (path.empty()) {
    for (std::size_t i = 0; model.names_classes() && i < classes; ++i) labels.push_back(model.class_name(i));
    return labels;
  }
  std::error_code fault;
  if (!std::filesystem::is_regular_file(path, fault)) throw UsageError("--labels " + path + " is no file");
  std::ifstream file(path);
  if (!file) throw UsageError("--labels " + path + " cannot be read: " + std::strerror(errno));
  for (std::string line; std::getline(file, line);) labels.push_back(line);
  if (labels.size() != classes) {
    throw UsageError("--labels " + path + " has " + std::to_string(labels.size()) + " lines, the model " +
                     std::to_string(classes) + " classes");
  }
  return labels;
}

// Nothing where there is no such file: a folder cannot be read, and a pipe or a device may have no end.
std::optional<std::string> contents_of(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  std::string contents{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.good() && !file.eof()) return std::nullopt;
  return contents;
}

std::vector<double> softmax(const std::vector<float>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> shares;
  for (float logit : logits) shares.push_back(std::exp(logit - largest));
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= sum;
  return shares;
}

std::vector<std::size_t> best_of(const std::vector<float>& logits, std::size_t count) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  order.resize(std::min(count, order.size()));
  return order;
}

void print_json(const std::string& image, const std::vector<float>& logits, const std::vector<std::size_t>& best,
                const std::vector<double>& shares, const std::vector<std::string>& labels,
                const std::vector<std::uint8_t>& crop) {
  nlohmann::json classes = nlohmann::json::array();
  for (std::size_t index : best) {
    nlohmann::json found{{"class", index}, {"probability", shares[index]}};
    if (!labels.empty()) found["name"] = labels[index];
    classes.push_back(found);
  }
  const nlohmann::json line{{"image", image},
                            {"classes", classes},
                            {"logits", logits},
                            {"crop_sha256", deepvit::sha256_of(crop.data(), crop.size())}};
  std::cout << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

void print_text(const std::string& image, const std::vector<std::size_t>& best, const std::vector<double>& shares,
                const std::vector<std::string>& labels) {
  std::printf("%s\n", image.c_str());
  for (std::size_t index : best) {
    std::printf("  %6.2f%%  %zu%s%s\n", 100 * shares[index], index, labels.empty() ? "" : "  ",
                labels.empty() ? "" : labels[index].c_str());
  }
}

int exit_code_of(deepvit_status status) {
  switch (status) {
    case DEEPVIT_OK:
      return 0;
    case DEEPVIT_NOT_FINITE:
      return 1;
    case DEEPVIT_INVALID_ARGUMENT:
    case DEEPVIT_INVALID_ARTIFACT:
    case DEEPVIT_INVALID_IMAGE:
      return 2;
    case DEEPVIT_INTERNAL:
      return 70;
    default:
      return 3;
  }
}

int complain(const std::string& message, int code) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return code;
}

int classify_one(const deepvit::Model& model, const Arguments& arguments, const std::vector<std::string>& labels,
                 const std::string& image) {
  try {
    const auto encoded = contents_of(image);
    if (!encoded) return complain(image + " cannot be read; expected a JPEG or PNG file", 2);
    const auto crop = model.crop(encoded->data(), encoded->size());
    const auto logits = model.run(model.input_from_crops(crop).data(), 1);
    const auto best = best_of(logits, arguments.top);
    const auto shares = softmax(logits);
    if (arguments.is_json) {
      print_json(image, logits, best, shares, labels, crop);
    } else {
      print_text(image, best, shares, labels);
    }
    return 0;
  } catch (const deepvit::Error& error) {
    return complain(image + ": " + error.what(), exit_code_of(error.status()));
  } catch (const std::bad_alloc&) {
    return complain(image + ": not enough memory", 2);
  }
}

int classify(const Arguments& arguments) {
  const deepvit::Model model(arguments.artifact, arguments.options);
  const auto labels = labels_from(arguments.labels, model);
  if (!arguments.is_json) {
    std::printf("%s %s, %s%s\n", model.info().variant, model.info().precision, model.info().backend,
                model.info().random_weights != 0 ? ", random weights: these answers mean nothing" : "");
  }
  int worst = 0;
  for (const std::string& image : arguments.images) {
    worst = std::max(worst, classify_one(model, arguments, labels, image));
  }
  return worst;
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--help") == 0) {
      std::fputs(kUsage, stdout);
      return 0;
    }
  }
  try {
    return classify(arguments_from(argc, argv));
  } catch (const UsageError& error) {
    return complain(error.what(), 2);
  } catch (const deepvit::Error& error) {
    return complain(error.what(), exit_code_of(error.status()));
  } catch (const std::exception& error) {
    return complain(std::string("internal: ") + error.what(), 70);
  }
}
