// What reaches the driver, held against the table of runtime/kernels.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "support.h"

using namespace support;

namespace {

alignas(16) char memory[5][16];

// A kernel of the table, and whether a kind of GPU has it.
struct Row {
  int major, minor, is_there;
  std::string name, number;
  int heads, width, tokens, rows;
  unsigned threads, shared_bytes;

  std::string gpu() const { return std::to_string(major) + "." + std::to_string(minor); }
  Problem problem(int batch) const {
    const DataType type = number == "bf16" ? DataType::kBF16 : DataType::kHALF;
    return {type, batch, tokens + 3, heads, width, tokens, queries(batch)};
  }
  // All, or fewer than a block of 32 has.
  int queries(int batch) const { return batch == 1 ? tokens + 3 : 17; }
  int blocks(int batch) const { return int(std::ceil(queries(batch) / double(rows))); }
};

std::vector<Row> table() {
  std::ifstream file(EXPECTED);
  std::vector<Row> rows;
  Row row;
  while (file >> row.major >> row.minor >> row.is_there >> row.name >> row.number >> row.heads >> row.width >>
         row.tokens >> row.rows >> row.threads >> row.shared_bytes) {
    rows.push_back(row);
  }
  return rows;
}

// The launch of a tactic, by a layer that was made for it.
Launch launched(const Problem& problem, int tactic) {
  ReAttention made = problem.layer();
  made.setTactic(tactic);
  const std::unique_ptr<ReAttention> layer(static_cast<ReAttention*>(made.attachToContext(nullptr)));
  const Tensors tensors(problem);
  REQUIRE(tensors.change_shape(*layer) == 0);
  const void* inputs[] = {memory[0], memory[2], memory[3], memory[4]};
  void* outputs[] = {memory[1]};
  fake_launches.clear();
  auto* const stream = reinterpret_cast<cudaStream_t>(std::uintptr_t{7});
  REQUIRE(layer->enqueue(tensors.desc, tensors.desc + 4, inputs, outputs, nullptr, stream) == 0);
  REQUIRE(fake_launches.size() == 1);
  return fake_launches[0];
}

// What is not as the table says, of a launch of `batch` images.
std::vector<std::string> faults_of(const Launch& launch, const Row& row, int batch) {
  std::vector<std::string> faults;
  const auto expect = [&](bool is_met, const char* fault) {
    if (!is_met) faults.emplace_back(fault);
  };
  expect(launch.kernel == row.name, "kernel");
  expect(launch.cubin == "kernels for " + row.gpu(), "cubin");
  expect(launch.grid[0] == unsigned(row.blocks(batch)), "grid's first");
  expect(launch.grid[1] == unsigned(batch) && launch.grid[2] == 1, "grid's others");
  expect(launch.block[0] == row.threads && launch.block[1] == 1 && launch.block[2] == 1, "threads");
  expect(launch.shared_bytes == row.shared_bytes, "shared bytes");
  expect(launch.most_shared_bytes >= row.shared_bytes, "shared bytes asked for");
  expect(launch.stream == reinterpret_cast<void*>(std::uintptr_t{7}), "stream");
  for (int i = 0; i < 5; ++i) expect(launch.addresses[i] == memory[i], "addresses");
  expect(std::fabs(launch.scale_log2 - 0.5 / std::log(2.0)) < 1e-7, "scale");
  expect(launch.stored == row.tokens + 3, "stored");
  expect(launch.queries == row.queries(batch), "queries");
  return faults;
}

using Faults = std::vector<std::string>;

}  // namespace

TEST_CASE("every kernel is launched as the table says, on every kind of GPU that has it, and on no other") {
  int launches = 0;
  for (const Row& row : table()) {
    const Gpu gpu(row.major, row.minor);
    fake_context = 1000 + 10ULL * unsigned(row.major) + unsigned(row.minor);
    if (row.is_there == 0) {
      const Log log;
      ReAttention layer = row.problem(1).layer();
      layer.setTactic(row.rows);
      CHECK(Tensors(row.problem(1)).change_shape(layer) != 0);
      CHECK(log.says("no kernel of 32 rows a block for 12 heads"));
      continue;
    }
    for (const int batch : {1, 7}) {
      CHECK(faults_of(launched(row.problem(batch), row.rows), row, batch) == Faults{});
      ++launches;
    }
  }
  CHECK(launches == 2 * (6 * 24 - 3 * 4));  // 32 rows of 197 tokens are too much for three of them
  fake_context = 1;
}

TEST_CASE("planted faults of a launch are told") {
  const Row row = table()[0];
  const Gpu gpu(row.major, row.minor);
  fake_context = 300;
  const Launch right = launched(row.problem(7), row.rows);
  fake_context = 1;
  REQUIRE(faults_of(right, row, 7) == Faults{});
  const auto faults = [&](void (*plant)(Launch&)) {
    Launch wrong = right;
    plant(wrong);
    return faults_of(wrong, row, 7);
  };
  CHECK(faults([](Launch& of) { of.grid[0] -= 1; }) == Faults{"grid's first"});
  CHECK(faults([](Launch& of) { std::swap(of.grid[0], of.grid[1]); }) == Faults{"grid's first", "grid's others"});
  CHECK(faults([](Launch& of) { of.shared_bytes -= 2; }) == Faults{"shared bytes"});
  CHECK(faults([](Launch& of) { of.most_shared_bytes = 48 * 1024; }) == Faults{"shared bytes asked for"});
  CHECK(faults([](Launch& of) { std::swap(of.addresses[2], of.addresses[3]); }) == Faults{"addresses", "addresses"});
  CHECK(faults([](Launch& of) { of.addresses[4] = of.addresses[3]; }) == Faults{"addresses"});
  CHECK(faults([](Launch& of) { of.scale_log2 = 0.5F; }) == Faults{"scale"});
  CHECK(faults([](Launch& of) { of.stored -= 3; }) == Faults{"stored"});
  CHECK(faults([](Launch& of) { of.queries = of.stored; }) == Faults{"queries"});
}

TEST_CASE("kernels are loaded once in every context, whichever thread comes first") {
  fake_context = 100;
  const int before = fake_modules;
  const reattention::Kernel& kernel = *reattention::kernels_for({false, 12, 32, 197}, nullptr).front();
  const reattention::Cubin& cubin = *reattention::cubin_for(9, 0);
  std::vector<std::thread> threads;
  std::vector<CUfunction> found(8);
  for (std::size_t i = 0; i < found.size(); ++i) {
    threads.emplace_back([&, i] {
      fake_context = 100;
      found[i] = reattention::Driver::of_process().function(cubin, kernel);
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(fake_modules == before + 1);
  CHECK(found == std::vector<CUfunction>(8, found[0]));
  fake_context = 101;
  CHECK(reattention::Driver::of_process().function(cubin, kernel) != found[0]);
  CHECK(fake_modules == before + 2);
  fake_context = 1;
}

TEST_CASE("what the driver refuses is told by name, and tried again the next time") {
  fake_context = 200;
  ReAttention layer = Problem{}.layer();
  layer.setTactic(16);
  const Tensors tensors({});
  for (const char* function : {"cuCtxGetDevice", "cuCtxGetId", "cuModuleLoadData", "cuModuleGetFunction",
                               "cuFuncSetAttribute", "cuDeviceGetAttribute"}) {
    const Log log;
    fake_fail(function);
    CHECK(tensors.change_shape(layer) != 0);
    CHECK_MESSAGE(log.says(": CUDA_ERROR_NO_BINARY_FOR_GPU, the fake was told to fail"), function);
  }
  fake_fail("");
  CHECK(tensors.change_shape(layer) == 0);

  const void* inputs[] = {memory[0], memory[2], memory[3], memory[4]};
  void* outputs[] = {memory[1]};
  fake_fail("cuLaunchKernel");
  {
    const Log log;
    CHECK(layer.enqueue(tensors.desc, tensors.desc + 4, inputs, outputs, nullptr, nullptr) != 0);
    CHECK(log.says("CUDA could not launch reattention_fp16_h12_d32_t197_k208_r16: "));
  }
  fake_fail("");
  {
    const Log log;
    inputs[0] = memory[0] + 2;
    CHECK(layer.enqueue(tensors.desc, tensors.desc + 4, inputs, outputs, nullptr, nullptr) != 0);
    CHECK(log.says("not aligned to 16 bytes"));
  }
  {
    const Log log;
    layer.setTactic(32);
    CHECK(layer.enqueue(tensors.desc, tensors.desc + 4, inputs, outputs, nullptr, nullptr) != 0);
    CHECK(log.says("no kernel was chosen for this shape"));
  }
  fake_context = 1;
}

TEST_CASE("a machine without a driver, or with another library in its place, is told by name") {
  CHECK_THROWS_WITH_AS(reattention::Driver("libnone.so.1"),
                       doctest::Contains("NVIDIA's driver is needed: libnone.so.1"), std::runtime_error);
  CHECK_THROWS_WITH_AS(reattention::Driver("libc.so.6"),
                       doctest::Contains("has no cuGetErrorName; expected one of CUDA"), std::runtime_error);
}
