// What TensorRT asks of the layer while it builds, and what a plan keeps of it.
#include <doctest/doctest.h>

#include <cstring>
#include <tuple>

#include "support.h"

using namespace support;
using Tactics = std::vector<int>;

namespace {

constexpr int kTypes = 12;
constexpr int kFormats = 13;

class Number final : public IDimensionExpr {
 public:
  explicit Number(std::int64_t value) : impl_(value) { mImpl = &impl_; }

 private:
  struct Impl final : apiv::VDimensionExpr {
    explicit Impl(std::int64_t number) : value(number) {}
    bool isConstant() const override { return true; }
    std::int64_t getConstantValue() const override { return value; }
    bool isSizeTensor() const override { return false; }
    std::int64_t value;
  };
  Impl impl_;
};

class Builder final : public IExprBuilder {
 public:
  Builder() { mImpl = &impl_; }

 private:
  struct Impl final : apiv::VExprBuilder {
    const IDimensionExpr* constant(std::int64_t value) override {
      made.push_back(std::make_unique<Number>(value));
      return made.back().get();
    }
    const IDimensionExpr* operation(DimensionOperation kind, const IDimensionExpr& a,
                                    const IDimensionExpr& b) override {
      if (kind != DimensionOperation::kPROD) return nullptr;
      return constant(a.getConstantValue() * b.getConstantValue());
    }
    const IDimensionExpr* declareSizeTensor(std::int32_t, const IDimensionExpr&, const IDimensionExpr&) override {
      return nullptr;
    }
    std::vector<std::unique_ptr<Number>> made;
  };
  Impl impl_;
};

std::vector<PluginField> fields_of(const PluginFieldCollection* collection) {
  return {collection->fields, collection->fields + collection->nbFields};
}

const float kScale = 0.25F;
const std::int32_t kTokens = 197;
const std::int32_t kQueries = 200;
const std::vector<PluginField> kAttributes = {PluginField("scale", &kScale, PluginFieldType::kFLOAT32, 1),
                                              PluginField("tokens", &kTokens, PluginFieldType::kINT32, 1),
                                              PluginField("queries", &kQueries, PluginFieldType::kINT32, 1)};

}  // namespace

TEST_CASE("of all formats and types those of the contract are taken, and no others") {
  ReAttention layer = Problem{}.layer();
  for (const DataType first : {DataType::kHALF, DataType::kBF16}) {
    for (int position = 0; position < 5; ++position) {
      std::vector<std::pair<int, int>> taken;
      for (int type = 0; type < kTypes; ++type) {
        for (int format = 0; format < kFormats; ++format) {
          Tensors tensors({first});
          tensors.dynamic[position].desc.type = DataType(type);
          tensors.dynamic[position].desc.format = TensorFormat(format);
          if (layer.supportsFormatCombination(position, tensors.dynamic, 4, 1)) taken.emplace_back(type, format);
        }
      }
      const int own = int(position == 4 ? first : DataType::kFLOAT);
      const std::vector<std::pair<int, int>> either = {{int(DataType::kHALF), 0}, {int(DataType::kBF16), 0}};
      CHECK(taken == (position == 0 ? either : std::vector<std::pair<int, int>>{{own, 0}}));
    }
  }
  const Tensors tensors({});
  CHECK_FALSE(layer.supportsFormatCombination(0, tensors.dynamic, 3, 1));
  CHECK_FALSE(layer.supportsFormatCombination(5, tensors.dynamic, 4, 1));
}

TEST_CASE("the output has qkv's type, a row for each query and the heads side by side; no workspace") {
  ReAttention layer(1, 197, 17);
  const Number sizes[] = {Number(8), Number(200), Number(3), Number(12), Number(32)};
  DimsExprs in[4]{{5, {&sizes[0], &sizes[1], &sizes[2], &sizes[3], &sizes[4]}}, {2, {}}, {1, {}}, {3, {}}};
  DimsExprs out{};
  Builder builder;
  REQUIRE(layer.getOutputShapes(in, 4, nullptr, 0, &out, 1, builder) == 0);
  CHECK(std::make_tuple(out.nbDims, out.d[0], out.d[1]->getConstantValue()) == std::make_tuple(3, &sizes[0], 17));
  CHECK(out.d[2]->getConstantValue() == 384);
  for (const DataType type : {DataType::kHALF, DataType::kBF16}) {
    const DataType types[] = {type, DataType::kFLOAT, DataType::kFLOAT, DataType::kFLOAT};
    DataType given{};
    REQUIRE(layer.getOutputDataTypes(&given, 1, types, 4) == 0);
    CHECK(given == type);
  }
  CHECK(layer.getWorkspaceSize(nullptr, 4, nullptr, 1) == 0);

  const Log log;
  in[0].nbDims = 3;
  CHECK(layer.getOutputShapes(in, 4, nullptr, 0, &out, 1, builder) != 0);
  CHECK(log.says("qkv has 3 dimensions, expected (B, N, 3, H, d)"));
}

TEST_CASE("types that no kernel takes, and another number of inputs, are refused by name") {
  const ReAttention layer = Problem{}.layer();
  const DataType wide = DataType::kFLOAT, half = DataType::kHALF;
  struct Case {
    DataType types[4];
    int inputs;
    const char* text;
  };
  const Case cases[] = {{{wide, wide, wide, wide}, 4, "deepvit::ReAttention: qkv is neither FP16 nor BF16"},
                        {{half, wide, wide, half}, 4, "theta, bias and channels are not all float32"},
                        {{half, wide, wide, wide}, 3, "it has 3 inputs, expected qkv, theta, bias and channels"}};
  for (const Case& each : cases) {
    const Log log;
    DataType given{};
    CHECK(layer.getOutputDataTypes(&given, 1, each.types, each.inputs) != 0);
    CHECK_MESSAGE(log.says(each.text), each.text);
  }
}

TEST_CASE("one tactic for each number of rows that has a kernel for the shape, the type and the GPU") {
  const Tactics both = {16, 32};
  const Tactics small = {16};
  struct Case {
    int major, minor;
    Tactics of_197, of_577;
  };
  const Case cases[] = {{8, 0, both, both},  {8, 6, small, both},  {8, 7, small, both},
                        {8, 9, small, both}, {9, 0, both, both},   {10, 0, both, both},
                        {10, 3, both, both}, {12, 0, small, both}, {12, 1, small, both}};
  for (const Case& each : cases) {
    const Gpu gpu(each.major, each.minor);
    for (const DataType type : {DataType::kHALF, DataType::kBF16}) {
      ReAttention layer = Problem{}.layer();
      CHECK(Tensors({type}).configure(layer) == 0);
      CHECK(tactics_of(layer) == each.of_197);
      ReAttention longer(1, 577, 200);
      CHECK(Tensors({type, 8, 577, 12, 40, 577}).configure(longer) == 0);
      CHECK(tactics_of(longer) == each.of_577);
    }
  }
}

TEST_CASE("without a GPU the tactics are those of every kind of GPU") {
  fake_context = 0;
  ReAttention layer = Problem{}.layer();
  CHECK(Tensors({}).configure(layer) == 0);
  CHECK(tactics_of(layer) == Tactics{16});
  fake_context = 1;
}

TEST_CASE("a GPU or a shape without a kernel is refused by name, and has no tactics") {
  struct Case {
    int major;
    Problem problem;
    const char* text;
  };
  const Case cases[] = {
      {7, {}, "no kernels for GPUs of compute capability 7.0"},
      {11, {}, "no kernels for GPUs of compute capability 11.0"},
      {9,
       {DataType::kHALF, 8, 200, 12, 64, 197},
       "no kernel for 12 heads of width 64 over 197 tokens in FP16 on GPUs of"},
      {9, {DataType::kBF16, 8, 200, 11, 32, 197}, "no kernel for 11 heads of width 32 over 197 tokens in BF16"},
      {9, {DataType::kHALF, 8, 200, 12, 32, 196}, "over 196 tokens"},
      {9, {DataType::kHALF, 8, 190, 12, 32, 197}, "qkv stores 190 tokens, expected 200"},
      {9, {DataType::kHALF, 8, 190, 12, 32, 197, 1}, "qkv stores 190 tokens, expected 197"},
      {9, {DataType::kHALF, 65536, 200, 12, 32, 197}, "a batch of 65536, expected at most 65535"},
  };
  for (const Case& each : cases) {
    const Gpu gpu(each.major, 0);
    const Log log;
    ReAttention layer = each.problem.layer();
    CHECK(Tensors(each.problem).configure(layer) != 0);
    CHECK_MESSAGE(log.says(each.text), each.text);
    CHECK(layer.getNbTactics() == 0);
  }
}

TEST_CASE("inputs that do not belong together are refused by name") {
  struct Case {
    int tensor, dimension, size;
    const char* text;
  };
  const Case cases[] = {{0, 2, 4, "expected (B, N, 3, H, d) with H and d known"},
                        {0, 3, -1, "expected (B, N, 3, H, d) with H and d known"},
                        {1, 1, 11, "expected (H, H) and (H)"},
                        {2, 0, 11, "expected (H, H) and (H)"},
                        {3, 1, 11, "channels is (3, 11, 32), expected (3, H, d) of qkv, (-1, 200, 3, 12, 32)"},
                        {3, 2, 40, "channels is (3, 12, 40), expected (3, H, d)"},
                        {3, 0, 2, "channels is (2, 12, 32), expected (3, H, d)"}};
  for (const Case& wrong : cases) {
    const Log log;
    Tensors tensors({});
    tensors.desc[wrong.tensor].dims.d[wrong.dimension] = wrong.size;
    tensors.sync();
    ReAttention layer = Problem{}.layer();
    CHECK(tensors.configure(layer) != 0);
    CHECK_MESSAGE(log.says(wrong.text), wrong.text);
  }
}

TEST_CASE("what a plan keeps makes the same layer") {
  const auto made = create(kAttributes, TensorRTPhase::kBUILD);
  REQUIRE(made != nullptr);
  const auto fields = fields_of(made->getFieldsToSerialize());
  const auto again = create(fields, TensorRTPhase::kRUNTIME);
  REQUIRE(again != nullptr);
  const auto kept = fields_of(again->getFieldsToSerialize());
  REQUIRE(kept.size() == fields.size());
  for (std::size_t i = 0; i < fields.size(); ++i) {
    CHECK(std::string(kept[i].name) == fields[i].name);
    CHECK(kept[i].length == fields[i].length);
    CHECK(std::memcmp(kept[i].data, fields[i].data, kept[i].type == PluginFieldType::kCHAR ? 64 : 4) == 0);
  }
  const std::unique_ptr<IPluginV3> copy(again->clone());
  CHECK(std::string(static_cast<ReAttention*>(copy.get())->getTimingCacheID()) == made->getTimingCacheID());
}

TEST_CASE("a plan that was built with other kernels is refused by name") {
  const auto made = create(kAttributes, TensorRTPhase::kBUILD);
  auto fields = fields_of(made->getFieldsToSerialize());
  const std::string other(64, '0');
  fields[3].data = other.data();
  const Log log;
  CHECK(create(fields, TensorRTPhase::kRUNTIME) == nullptr);
  CHECK(log.says("the plan was built with other kernels: expected " + std::string(reattention::kKernelsSha256)));
  CHECK(log.says("got " + other));
  const Log next;
  CHECK(create(kAttributes, TensorRTPhase::kRUNTIME) == nullptr);
  CHECK(next.says("got none"));
}

TEST_CASE("attributes that are missing, of another type or without sense are refused by name") {
  const float zero = 0;
  const double wide = 1;
  const PluginField faults[] = {PluginField("width", &kScale, PluginFieldType::kFLOAT32, 1),
                                PluginField("scale", &wide, PluginFieldType::kFLOAT64, 1),
                                PluginField("scale", &zero, PluginFieldType::kFLOAT32, 1)};
  for (const PluginField& fault : faults) {
    const Log log;
    auto fields = kAttributes;
    fields[0] = fault;
    CHECK(create(fields, TensorRTPhase::kBUILD) == nullptr);
    CHECK(log.says(fault.data == &zero ? "expected all above 0" : "the layer has no scale, or one of another type"));
  }
}
