#include "artifact/schema.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <regex>
#include <set>
#include <stdexcept>
#include <vector>

namespace deepvit {
namespace {

constexpr std::int64_t kLargestSide = 16384;      // of runtime/preprocess/crop.py
constexpr std::int64_t kMostClasses = 1'000'000;  // bounds what a hostile manifest makes callers allocate
constexpr std::int64_t kLargestBatch = 65'536;
constexpr std::size_t kLongestName = 300;     // in bytes
constexpr std::size_t kLongestPattern = 101;  // std::regex recurses with the text's length
constexpr double kLeastStd = 1e-6;
constexpr double kLargestStatistic = 1e6;

using Rule = std::function<void(const JsonNode&)>;

struct Field {
  const char* name;
  Rule rule;
  bool is_required = true;
};

void text(const JsonNode& node) { node.text(); }
void truth(const JsonNode& node) { node.truth(); }
void number(const JsonNode& node) { node.number(); }
void count(const JsonNode& node) { node.integer(0, kLargestInt); }
void positive(const JsonNode& node) { node.integer(1, kLargestInt); }
void seed(const JsonNode& node) { node.integer(-kLargestInt, kLargestInt); }

Rule integer(std::int64_t least, std::int64_t most) {
  return [=](const JsonNode& node) { node.integer(least, most); };
}

Rule one_of(std::vector<std::string> choices) {
  return [=](const JsonNode& node) { node.choice(choices); };
}

bool matches(const std::string& text, const std::regex& pattern, bool is_whole) {
  if (text.size() > kLongestPattern - 1) return false;
  if (is_whole) return std::regex_match(text, pattern);
  return std::regex_search(text, pattern, std::regex_constants::match_continuous);
}

Rule like(const char* pattern, bool is_whole = true) {
  return [pattern = std::regex(pattern), is_whole](const JsonNode& node) {
    node.require(matches(node.text(), pattern, is_whole), "is not written as it should be");
  };
}

Rule nullable(Rule rule) {
  return [=](const JsonNode& node) {
    if (!node.is_null()) rule(node);
  };
}

Rule list_of(Rule rule, std::size_t least = 0, std::size_t most = std::numeric_limits<std::size_t>::max()) {
  return [=](const JsonNode& node) {
    node.each(rule);
    const std::size_t size = node.json().size();
    node.require(size >= least && size <= most, "has " + std::to_string(size) + " entries");
  };
}

Rule map_of(Rule rule) {
  return
      [=](const JsonNode& node) { node.each_entry([&](const std::string&, const JsonNode& value) { rule(value); }); };
}

Rule record(std::vector<Field> fields) {
  return [=](const JsonNode& node) {
    node.each_entry([&](const std::string& key, const JsonNode& value) {
      const auto is_it = [&](const Field& field) { return key == field.name; };
      value.require(std::any_of(fields.begin(), fields.end(), is_it), "is no field of a manifest");
    });
    for (const Field& field : fields) {
      if (field.is_required || node.contains(field.name)) field.rule(node[field.name]);
    }
  };
}

// Whether UTF-8 text has control characters, ends of lines and paragraphs, or what turns the direction of writing.
bool steers(const std::string& text) {
  const auto byte = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int first = byte(i), second = byte(i + 1), third = byte(i + 2);
    if (first < 0x20 || first == 0x7F) return true;
    if (first == 0xC2 && second < 0xA0) return true;                                     // U+0080 to U+009F
    if (first == 0xE2 && second == 0x80 && third >= 0xA8 && third <= 0xAE) return true;  // U+2028 to U+202E
    if (first == 0xE2 && second == 0x81 && third >= 0xA6 && third <= 0xA9) return true;  // U+2066 to U+2069
  }
  return false;
}

// What a terminal shows, and a list has on a line.
void name(const JsonNode& node) {
  const std::string given = node.text();
  node.require(!given.empty() && given.front() != ' ' && given.back() != ' ', "is empty, or has a space at an end");
  node.require(given.size() <= kLongestName, "has more than " + std::to_string(kLongestName) + " bytes");
  node.require(!steers(given), "has characters that steer a terminal");
}

void dimension(const JsonNode& node) {
  if (!node.is_text()) node.integer(1, std::numeric_limits<std::int32_t>::max());
}

void mean(const JsonNode& node) { node.require(std::abs(node.number()) <= kLargestStatistic, "is no mean"); }

void deviation(const JsonNode& node) {
  node.require(node.number() >= kLeastStd && node.number() <= kLargestStatistic,
               "must be positive, from 1e-06 to 1e+06");
}

void batch(const JsonNode& node) {
  const Rule size = integer(1, kLargestBatch);
  record({{"min", size}, {"opt", size}, {"max", size}})(node);
  const auto value = [&](const char* key) { return node[key].integer(1, kLargestBatch); };
  node.require(value("min") <= value("opt") && value("opt") <= value("max"), "is not min ≤ opt ≤ max");
}

Rule sha256() { return like("[0-9a-f]{64}"); }
Rule file_name() { return like("[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"); }

Rule tensor() {
  return record({{"name", name}, {"shape", list_of(dimension)}, {"dtype", one_of({"float32", "uint8"})}});
}

Rule weights() {
  return record({{"source", one_of({"checkpoint", "random"})},
                 {"sha256", sha256()},
                 {"entry", nullable(text), false},
                 {"seed", nullable(seed), false}});
}

Rule preprocess() {
  const Rule side = integer(1, kLargestSide);
  return record({{"resize", side},
                 {"crop", side},
                 {"interpolation", one_of({"nearest", "bilinear", "bicubic", "lanczos"})},
                 {"mean", list_of(mean, 3, 3)},
                 {"std", list_of(deviation, 3, 3)},
                 {"layout", one_of({"NCHW", "NHWC"})},
                 {"color", one_of({"RGB"}), false}});
}

Rule mix() { return one_of({"conv", "matmul", "matmul-value"}); }
Rule qkv() { return one_of({"fused", "split"}); }

Rule tried_form() {
  return record({{"mix", mix()},
                 {"qkv", qkv()},
                 {"pad_tokens", truth},
                 {"pad_head_dim", truth},
                 {"mb_per_image", nullable(number), false},
                 {"kernels", nullable(count), false},
                 {"milliseconds", nullable(number), false}});
}

void tried_forms(const JsonNode& node) {
  record({{"by", one_of({"rules", "listing", "timing"})},
          {"tool", text},
          {"where", text},
          {"batch", integer(1, kLargestBatch)},
          {"forms", list_of(tried_form(), 1)},
          {"chosen", count}})(node);
  const auto size = static_cast<std::int64_t>(node["forms"].json().size());
  node["chosen"].require(node["chosen"].integer(0, kLargestInt) < size, "is none of the forms");
}

Rule graph() {
  return record({{"opset", nullable(positive), false},
                 {"mix", nullable(mix()), false},
                 {"qkv", nullable(qkv()), false},
                 {"attention_maps", nullable(positive), false},
                 {"padded_tokens", nullable(positive), false},
                 {"reattention", nullable(one_of({"unfused", "fused"})), false},
                 {"gemms", nullable(count), false},
                 {"convolutions", nullable(count), false},
                 {"quantized_gemms", nullable(count), false},
                 {"tried", nullable(tried_forms), false}});
}

Rule plain_sessions() {
  const Rule levels = list_of(one_of({"disable", "basic", "extended", "layout", "all"}));
  return record({{"version", text}, {"right", levels}, {"wrong", levels}, {"refused", levels}});
}

Rule architecture() {
  return record({{"depth", positive},
                 {"embed_dim", positive},
                 {"num_heads", positive},
                 {"head_dim", positive},
                 {"mlp_dim", positive},
                 {"patch_size", positive},
                 {"stem", text},
                 {"mix_norm", text},
                 {"pooling", one_of({"cls", "mean"})}});
}

Rule fold() {
  return record({{"name", text}, {"applied", count}, {"max_abs_weight", number}, {"max_abs_bias", number}});
}

Rule interval() { return record({{"low", number}, {"high", number}}); }

Rule parity_stage() {
  return record({{"stage", text},
                 {"against", text},
                 {"max_abs", number},
                 {"sqnr_db", nullable(number)},
                 {"top1_agreement", number},
                 {"top1_interval", nullable(interval()), false},
                 {"images", positive},
                 {"top1_enforced", truth, false}});
}

Rule split() { return one_of({"train", "val", "folder", "bundled"}); }

Rule accuracy_check() {
  return record({{"unit", one_of({"fraction"}), false},
                 {"images", positive},
                 {"list_sha256", sha256()},
                 {"split", split()},
                 {"agreement", number},
                 {"agreement_interval", interval()},
                 {"reference_top1", nullable(number), false},
                 {"top1", nullable(number), false},
                 {"drop", nullable(number), false},
                 {"drop_interval", nullable(interval()), false},
                 {"mcnemar_p", nullable(number), false}});
}

// What came of images is all there, or nothing of it is where weights alone are quantised.
void measured(const JsonNode& node) {
  std::size_t lacking = 0;
  const std::vector<const char*> names = {"method", "images", "list_sha256", "ranges_sha256", "split", "seed"};
  for (const char* name : names) lacking += !node.contains(name) || node[name].is_null();
  const bool is_weight_only = node.contains("weight_only") && node["weight_only"].truth();
  node.require(lacking == 0 || (is_weight_only && lacking == names.size()),
               "lacks method, images, list_sha256, ranges_sha256, split or seed");
}

Rule calibration() {
  const Rule budget_proof =
      record({{"is_shown", truth}, {"is_demanded", truth}, {"images_needed", nullable(positive), false}});
  const Rule fields = record({{"method", nullable(text), false},
                              {"images", nullable(positive), false},
                              {"list_sha256", nullable(sha256()), false},
                              {"ranges_sha256", nullable(sha256()), false},
                              {"grid", one_of({"int8", "uint8", "fp8"})},
                              {"split", nullable(split()), false},
                              {"seed", nullable(seed), false},
                              {"replaced", list_of(text), false},
                              {"rescaled", count, false},
                              {"weight_only", truth, false},
                              {"attention", truth, false},
                              {"budget", nullable(text), false},
                              {"budget_proof", nullable(budget_proof), false},
                              {"kept", list_of(text), false},
                              {"check", nullable(accuracy_check()), false}});
  return [=](const JsonNode& node) {
    fields(node);
    measured(node);
  };
}

Rule engine() {
  const Rule layers = map_of(count);
  return record(
      {{"file", file_name()},
       {"backend", one_of({"tensorrt", "tensorrt-rtx"})},
       {"version", like("[0-9]+(\\.[0-9]+)+", false)},
       {"compute_capability", like("[0-9]+\\.[0-9](,[0-9]+\\.[0-9])*")},
       {"gpu", nullable(text)},
       {"driver", nullable(text)},
       {"profile", batch},
       {"census",
        record(
            {{"network", layers}, {"engine", nullable(layers), false}, {"gemms_attributed", nullable(count), false}})},
       {"hardware_compatible", one_of({"none", "same-compute-capability", "ampere-plus"}), false},
       {"version_compatible", truth, false},
       {"weight_stripped", truth, false},
       {"options",
        record({{"workspace_bytes", nullable(positive), false}, {"optimization_level", nullable(count), false}}),
        false},
       {"plugin", nullable(record({{"sha256", sha256()}, {"kernels_sha256", sha256()}, {"layer", text}})), false}});
}

void files(const JsonNode& node) {
  const Rule is_name = file_name();
  node.each_entry([&](const std::string& name, const JsonNode&) {
    const nlohmann::json key = name;
    is_name(JsonNode(key, "the file name " + name));
  });
  map_of(record({{"bytes", count}, {"sha256", sha256()}}))(node);
}

Rule golden() {
  return record({{"input_sha256", sha256()}, {"logits", list_of(number, 1, kMostGoldenLogits)}, {"sqnr_db", number}});
}

Rule manifest() {
  return record({{"schema", integer(1, 1)},
                 {"variant", name},
                 {"classes", integer(1, kMostClasses)},
                 {"weights", weights()},
                 {"precision", one_of({"fp32", "fp16", "bf16", "int8", "fp8"})},
                 {"input", tensor()},
                 {"output", tensor()},
                 {"preprocess", preprocess()},
                 {"class_names", nullable(list_of(name)), false},
                 {"batch", batch},
                 {"folds", list_of(fold())},
                 {"graph", graph(), false},
                 {"parity", list_of(parity_stage(), 1)},
                 {"largest_activation", map_of(number), false},
                 {"calibration", nullable(calibration()), false},
                 {"engines", list_of(engine()), false},
                 {"files", files},
                 {"tools", map_of(text)},
                 {"golden", nullable(golden()), false},
                 {"plain", nullable(plain_sessions()), false},
                 {"architecture", nullable(architecture()), false}});
}

}  // namespace

nlohmann::json parse_strictly(const std::string& text) {
  if (text.rfind("\xEF\xBB\xBF", 0) == 0) throw std::invalid_argument("it begins with a byte order mark");
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> open;
  bool is_twice = false;
  const auto watch = [&](int, Event event, nlohmann::json& parsed) {
    if (event == Event::object_start) open.emplace_back();
    if (event == Event::object_end) open.pop_back();
    if (event == Event::key) is_twice |= !open.back().insert(parsed.get<std::string>()).second;
    return true;
  };
  nlohmann::json parsed = nlohmann::json::parse(text, watch, false);  // a fault gives a discarded value
  if (parsed.is_discarded()) throw std::invalid_argument("it is not JSON; export again");
  if (is_twice) throw std::invalid_argument("a key stands there twice; export again");
  return parsed;
}

void require_schema(const JsonNode& node) {
  static const Rule rule = manifest();
  rule(node);
}

}  // namespace deepvit
