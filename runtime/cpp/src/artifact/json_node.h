// A JSON value that knows where it stands, so that every fault is told with its path: "preprocess.crop is no integer
// from 1 to 16384". By hand, because the library's own (JSON_DIAGNOSTICS) tells of types and keys alone, takes 1e300
// for an integer and four numbers for three, and has no path to give for what else is asked of a value.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace deepvit {

constexpr std::int64_t kLargestInt = INT64_MAX;  // what a manifest may count to

// Whatever is asked throws std::invalid_argument where the value is something else. The JSON must outlive it.
class JsonNode {
 public:
  explicit JsonNode(const nlohmann::json& value, std::string path = "") : value_(value), path_(std::move(path)) {}

  // Throws std::invalid_argument with the path, then `fault`.
  void require(bool is_met, const std::string& fault) const {
    if (!is_met) throw std::invalid_argument(path_ + " " + fault);
  }

  JsonNode operator[](const std::string& key) const {
    if (!value_.is_object() || !value_.contains(key)) throw std::invalid_argument(path_of(key) + " is missing");
    return JsonNode(value_[key], path_of(key));
  }

  bool contains(const std::string& key) const { return value_.is_object() && value_.contains(key); }

  bool has(const std::string& key) const { return contains(key) && !value_[key].is_null(); }

  bool is_null() const { return value_.is_null(); }

  const nlohmann::json& json() const { return value_; }

  bool is_text() const { return value_.is_string(); }

  std::string text() const {
    require(is_text(), "is no string");
    return value_.get<std::string>();
  }

  bool truth() const {
    require(value_.is_boolean(), "is neither true nor false");
    return value_.get<bool>();
  }

  std::int64_t integer(std::int64_t least, std::int64_t most) const {
    // What needs 64 bits without a sign comes as a negative number.
    const bool is_counted =
        value_.is_number_integer() && (!value_.is_number_unsigned() || value_.get<std::uint64_t>() <= INT64_MAX);
    const std::int64_t found = is_counted ? value_.get<std::int64_t>() : 0;
    require(is_counted && found >= least && found <= most,
            "is no integer from " + std::to_string(least) + " to " + std::to_string(most));
    return found;
  }

  double number() const {
    require(value_.is_number(), "is no number");
    return value_.get<double>();
  }

  // One of `choices`, as its position.
  std::size_t choice(const std::vector<std::string>& choices) const {
    const auto found = std::find(choices.begin(), choices.end(), text());
    if (found != choices.end()) return static_cast<std::size_t>(found - choices.begin());
    std::string all;
    for (const auto& choice : choices) all += (all.empty() ? "" : ", ") + choice;
    const auto replace = nlohmann::json::error_handler_t::replace;
    throw std::invalid_argument(path_ + " is " + value_.dump(-1, ' ', true, replace) + ", expected " + all);
  }

  std::array<float, 3> three_numbers() const {
    const auto is_number = [](const nlohmann::json& value) { return value.is_number(); };
    require(value_.is_array() && value_.size() == 3 && std::all_of(value_.begin(), value_.end(), is_number),
            "is not three numbers");
    return {value_[0].get<float>(), value_[1].get<float>(), value_[2].get<float>()};
  }

  // Calls read(JsonNode) with each element of a list.
  template <typename Read>
  void each(const Read& read) const {
    require(value_.is_array(), "is no list");
    for (std::size_t i = 0; i < value_.size(); ++i) read(JsonNode(value_[i], path_of(std::to_string(i))));
  }

  // Calls read(key, JsonNode) with each entry of an object.
  template <typename Read>
  void each_entry(const Read& read) const {
    require(value_.is_object(), "is no object");
    for (const auto& [key, value] : value_.items()) read(key, JsonNode(value, path_of(key)));
  }

 private:
  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  const nlohmann::json& value_;
  std::string path_;
};

}  // namespace deepvit
