// Whole small models of random weights in files made here, with every option of the forward pass: tokens one by one and
// at once give the same bits, and so does every instruction set; losses are those of the logits, and descriptions that
// lie are refused or run without touching foreign memory (this test runs under sanitizers).
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <unistd.h>

#include "cpu/kernel_choice.h"
#include "packing.h"
#include "runtime/error.h"
#include "runtime/session.h"
#include "runtime/verification.h"

using namespace dbell;
using namespace dbell_test;

namespace {

/// A file that grows tensor by tensor, each at a multiple of 64 bytes.
struct FileWriter {
  std::vector<std::uint8_t> bytes;
  ByteRange add(const void* data, std::size_t size, const std::string& what) {
    bytes.resize((bytes.size() + 63) / 64 * 64);
    const ByteRange range = {bytes.size(), size, what};
    const auto* begin = static_cast<const std::uint8_t*>(data);
    bytes.insert(bytes.end(), begin, begin + size);
    return range;
  }
};

struct Options {
  bool structured, post_norm, layer_norm, affine, gated, learned, projected, head_norms, quantized_tables, column_scale;
  Activation activation;
  std::uint64_t window;
};

struct Builder {
  Random& random;
  FileWriter& file;

  ByteRange floats(std::size_t count, float centre, float spread, const std::string& what) {
    std::vector<float> values(count);
    for (float& value : values) value = centre + spread * random.uniform();
    return file.add(values.data(), count * sizeof(float), what);
  }

  NormDescription norm(const Options& options, std::size_t size, bool is_rms) {
    NormDescription norm;
    norm.is_rms = is_rms;
    norm.epsilon = 1e-5;
    if (options.affine) {
      norm.weight = floats(size, 1.0f, 0.5f, "norm weight");
      if (!is_rms) norm.bias = floats(size, 0.0f, 0.5f, "norm bias");
    }
    return norm;
  }

  LinearDescription linear(const Options& options, const std::string& name, std::size_t out, std::size_t in,
                           const std::optional<ByteRange>& column_scale) {
    const int levels_of[] = {2, 3, 4, 16, 200};
    const LinearLayout layout = options.structured ? LinearLayout::structured : LinearLayout::grid;
    TestLinear made = make_linear(random, layout, out, in, levels_of[random.below(5)], random.below(2) == 0);
    LinearDescription result;
    result.name = name;
    result.layout = layout;
    result.out_features = out;
    result.in_features = in;
    result.levels = made.packed.levels;
    result.plane_count = made.packed.plane_count;
    result.is_base3 = layout == LinearLayout::grid && made.packed.levels == 3 && random.below(4) != 0;
    if (result.is_base3) store_base3(made);
    result.planes = result.is_base3 ? file.add(made.base3.values, made.base3.count, name + " base 3")
                                    : file.add(made.planes.values, made.planes.count, name + " planes");
    if (options.structured) {
      result.structured_values =
          file.add(made.structured_values.values, made.structured_values.count * 2, name + " levels");
      result.salient_mask = file.add(made.mask.values, made.mask.count, name + " mask");
    } else {
      result.scales = file.add(made.scales.values, made.scales.count * 2, name + " scales");
      if (made.packed.offsets != nullptr)
        result.offsets = file.add(made.offsets.values, made.offsets.count * 2, name + " offsets");
    }
    if (!options.structured && random.below(2) == 0) add_residual(name, out, in, result);
    if (random.below(2) == 0) result.bias = floats(out, 0.0f, 0.3f, name + " bias");
    result.column_scale = column_scale;
    return result;
  }

  void add_residual(const std::string& name, std::size_t out, std::size_t in, LinearDescription& result) {
    std::vector<std::int32_t> columns;
    const std::size_t rarity = 1 + random.below(5);
    for (std::size_t j = 0; j < in; ++j) {
      if (random.below(rarity) == 0 || (j + 1 == in && columns.empty()))
        columns.push_back(static_cast<std::int32_t>(j));
    }
    const TestLinear made = make_linear(random, LinearLayout::grid, out, columns.size(), 2, false);
    result.residual_count = columns.size();
    result.residual_columns = file.add(columns.data(), columns.size() * 4, name + " residual columns");
    result.residual_planes = file.add(made.planes.values, made.planes.count, name + " residual planes");
    result.residual_scales = file.add(made.scales.values, made.scales.count * 2, name + " residual scales");
  }

  TableDescription table(std::size_t rows, std::size_t columns, TableType type) {
    TableDescription table;
    table.type = type;
    table.rows = rows;
    table.columns = columns;
    if (type == TableType::q8) {
      const std::size_t groups = ceil_div(columns, 32);
      std::vector<std::int8_t> codes(rows * groups * 32);
      for (std::size_t i = 0; i < codes.size(); ++i)
        codes[i] =
            static_cast<std::int8_t>(i % (groups * 32) < columns ? static_cast<int>(random.below(255)) - 127 : 0);
      std::vector<std::uint16_t> scales(rows * groups);
      for (auto& scale : scales) scale = float_to_half(0.01f);
      table.values = file.add(codes.data(), codes.size(), "codes");
      table.scales = file.add(scales.data(), scales.size() * 2, "table scales");
    } else if (type == TableType::q6 || type == TableType::q4) {
      const std::size_t groups = ceil_div(columns, 32), row_groups = ceil_div(rows, 16);
      std::vector<std::uint8_t> lines(row_groups * groups * (type == TableType::q6 ? 6 : 4) * 64);
      for (auto& byte : lines) byte = static_cast<std::uint8_t>(random.below(256));
      std::vector<std::uint16_t> scales(row_groups * groups * 16);
      for (auto& scale : scales) scale = float_to_half(type == TableType::q6 ? -0.03f : 0.1f);
      table.values = file.add(lines.data(), lines.size(), "codes");
      table.scales = file.add(scales.data(), scales.size() * 2, "table scales");
    } else if (type == TableType::f16) {
      std::vector<std::uint16_t> values(rows * columns);
      for (auto& value : values) value = float_to_half(random.uniform());
      table.values = file.add(values.data(), values.size() * 2, "table");
    } else {
      table.values = floats(rows * columns, 0.0f, 1.0f, "table");
    }
    return table;
  }

  /// Embedding or head as a grid linear.
  TableDescription grid_table(std::size_t rows, std::size_t columns) {
    const int levels_of[] = {2, 3, 4, 16};
    TestLinear made = make_linear(random, LinearLayout::grid, rows, columns, levels_of[random.below(4)], false);
    LinearDescription grid;
    grid.name = "table";
    grid.out_features = rows;
    grid.in_features = columns;
    grid.levels = made.packed.levels;
    grid.plane_count = made.packed.plane_count;
    grid.is_base3 = made.packed.levels == 3;
    if (grid.is_base3) store_base3(made);
    grid.planes = grid.is_base3 ? file.add(made.base3.values, made.base3.count, "table base 3")
                                : file.add(made.planes.values, made.planes.count, "table planes");
    grid.scales = file.add(made.scales.values, made.scales.count * 2, "table scales");
    TableDescription table;
    table.grid = grid;
    return table;
  }

  ModelDescription model(const Options& options) {
    ModelDescription model;
    model.hidden_size = options.learned ? 40 : 24 + random.below(20);
    model.intermediate_size = 30 + random.below(170);
    model.key_value_head_count = 1 + random.below(3);
    model.head_count = model.key_value_head_count * (1 + random.below(3));
    model.head_dimension = 2 * (1 + random.below(12));
    model.vocabulary_size = 17 + random.below(40);
    model.context_length = 300;
    model.embedding_size = options.projected ? 21 : model.hidden_size;
    model.sliding_window = options.window;
    model.has_post_norms = options.post_norm;
    model.activation = options.activation;
    if (options.learned) {
      model.position_offset = 2;
      model.positions = table(302, model.hidden_size, TableType::f16);
    } else {
      for (std::size_t i = 0; i < 1 + random.below(model.head_dimension / 2); ++i)
        model.inverse_frequencies.push_back(1.0f / static_cast<float>(1 + 3 * i));
    }
    const TableType quantized[] = {TableType::q8, TableType::q6, TableType::q4};
    const TableType kind = quantized[random.below(3)];
    model.embedding = table(model.vocabulary_size, model.embedding_size, options.quantized_tables ? kind : TableType::f16);
    model.head = random.below(2) == 0
                     ? model.embedding
                     : table(model.vocabulary_size, model.embedding_size, options.quantized_tables ? kind : TableType::f32);
    if (options.quantized_tables && random.below(2) == 0)
      model.embedding = model.head = grid_table(model.vocabulary_size, model.embedding_size);
    if (random.below(2) == 0) model.head_bias = floats(model.vocabulary_size, 0.0f, 1.0f, "head bias");
    if (options.projected) {
      model.project_in = table(model.hidden_size, model.embedding_size, TableType::f16);
      model.project_out = table(model.embedding_size, model.hidden_size, TableType::f16);
    }
    if (!options.post_norm) model.final_norm = norm(options, model.hidden_size, !options.layer_norm);
    for (int index = 0; index < 2; ++index) {
      const std::size_t query = model.head_count * model.head_dimension,
                        key = model.key_value_head_count * model.head_dimension;
      BlockDescription block;
      block.attention_norm = norm(options, model.hidden_size, !options.layer_norm);
      block.mlp_norm = norm(options, model.hidden_size, !options.layer_norm);
      if (options.head_norms) {
        block.query_norm = norm(options, model.head_dimension, true);
        block.key_norm = norm(options, model.head_dimension, true);
      }
      std::optional<ByteRange> scale, mlp_scale;
      if (options.column_scale) {
        scale = floats(model.hidden_size, 1.0f, 0.5f, "column scale");
        mlp_scale = floats(model.intermediate_size, 1.0f, 0.5f, "column scale");
      }
      block.q = linear(options, "q", query, model.hidden_size, scale);
      block.k = linear(options, "k", key, model.hidden_size, scale);
      block.v = linear(options, "v", key, model.hidden_size, scale);
      block.o = linear(options, "o", model.hidden_size, query, std::nullopt);
      if (options.gated) block.gate = linear(options, "gate", model.intermediate_size, model.hidden_size, scale);
      block.up = linear(options, "up", model.intermediate_size, model.hidden_size, scale);
      block.down = linear(options, "down", model.hidden_size, model.intermediate_size, mlp_scale);
      model.blocks.push_back(block);
    }
    return model;
  }
};

struct TemporaryFile {
  std::string path;
  explicit TemporaryFile(const std::vector<std::uint8_t>& bytes) {
    char name[] = "/tmp/dbell-runtime-test-XXXXXX";
    const int descriptor = mkstemp(name);
    CHECK(descriptor >= 0, "no temporary file");
    path = name;
    CHECK(write(descriptor, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "cannot write");
    close(descriptor);
  }
  ~TemporaryFile() { unlink(path.c_str()); }
};

std::vector<std::int32_t> make_ids(Random& random, const ModelDescription& description, std::size_t count) {
  std::vector<std::int32_t> ids(count);
  for (auto& id : ids) id = static_cast<std::int32_t>(random.below(description.vocabulary_size));
  return ids;
}

void check_model(Random& random, const Options& options) {
  FileWriter file;
  ModelDescription description = Builder{random, file}.model(options);
  const TemporaryFile stored(file.bytes);
  description.path = stored.path;
  const std::vector<std::int32_t> ids = make_ids(random, description, 150);
  const std::size_t vocabulary = description.vocabulary_size;
  const std::size_t length = 3 + random.below(ids.size() - 3);
  std::vector<float> reference;  // of the first table, `generic`
  for (const KernelTable* kernels : available_kernels()) {
    const std::unique_ptr<Model> model = open_model(description, *kernels);
    std::vector<float> results;
    struct Setting {
      int bits;
      CacheType cache;
    };
    for (const auto& [bits, cache] : {Setting{16, CacheType::float32}, Setting{8, CacheType::float32},
                                      Setting{4, CacheType::float32}, Setting{16, CacheType::float16},
                                      Setting{8, CacheType::float16}, Setting{16, CacheType::int8},
                                      Setting{8, CacheType::int8}}) {
      Session whole(*model, 300, bits, cache), single(*model, 300, bits, cache);
      std::vector<float> logits(vocabulary), single_logits(vocabulary), losses(ids.size() - 1);
      whole.feed(ids.data(), length);
      whole.losses(ids.data() + 1, length - 1, losses.data());
      whole.logits(length - 1, logits.data());
      for (std::size_t i = 0; i < length; ++i) {
        single.feed(ids.data() + i, 1);
        if (i + 1 != length && i % 40 != 0) continue;
        single.logits(0, single_logits.data());
        if (i + 1 == length) continue;
        double largest = single_logits[0], sum = 0;
        for (const float logit : single_logits) largest = std::fmax(largest, static_cast<double>(logit));
        for (const float logit : single_logits) sum += std::exp(static_cast<double>(logit) - largest);
        const double loss =
            largest + std::log(sum) - static_cast<double>(single_logits[static_cast<std::size_t>(ids[i + 1])]);
        CHECK(std::fabs(loss - losses[i]) < 1e-4 * (1 + std::fabs(loss)), "%s %d bits: loss %zu is %g, not %g",
              kernels->name, bits, i, static_cast<double>(losses[i]), loss);
      }
      CHECK(std::memcmp(logits.data(), single_logits.data(), vocabulary * sizeof(float)) == 0,
            "%s %d bits, %zu tokens: one by one differs from all at once", kernels->name, bits, length);
      CHECK(whole.position() == length && whole.cache_bytes() > 0, "position");
      if (cache != CacheType::float32) {
        results.insert(results.end(), logits.begin(), logits.end());
        continue;
      }
      const auto states = verify_hidden_states(*model, ids.data(), length, bits);
      const auto output = verify_block(*model, 1, states[1].data(), length, bits);
      CHECK(output == states[2], "%s: a block by itself differs", kernels->name);
      results.insert(results.end(), logits.begin(), logits.end());
      results.insert(results.end(), losses.begin(), losses.begin() + static_cast<std::ptrdiff_t>(length - 1));
      results.insert(results.end(), output.begin(), output.end());
    }
    if (reference.empty()) reference = results;
    CHECK(results.size() == reference.size() &&
              std::memcmp(results.data(), reference.data(), results.size() * sizeof(float)) == 0,
          "%s gives other bits than generic", kernels->name);
  }
}

ByteRange* any_range(Random& random, ModelDescription& description) {
  BlockDescription& block = description.blocks[random.below(description.blocks.size())];
  LinearDescription* linears[] = {&block.q, &block.k, &block.v, &block.o, &block.up, &block.down};
  LinearDescription& linear = *linears[random.below(6)];
  std::vector<ByteRange*> ranges = {&linear.planes};
  for (TableDescription* table : {&description.embedding, &description.head})
    ranges.push_back(table->grid ? &table->grid->planes : &table->values);
  for (auto* optional :
       {&linear.residual_columns, &linear.residual_planes, &linear.residual_scales, &linear.scales, &linear.offsets,
        &linear.structured_values, &linear.salient_mask, &linear.column_scale, &linear.bias, &block.attention_norm.weight, &description.embedding.scales, &description.head_bias}) {
    if (*optional) ranges.push_back(&**optional);
  }
  return ranges[random.below(ranges.size())];
}

/// Offsets, lengths and sizes that lie: refused, or, where the lie is harmless, run.
void check_lies(Random& random, const Options& options, int rounds) {
  FileWriter file;
  ModelDescription honest = Builder{random, file}.model(options);
  const TemporaryFile stored(file.bytes);
  honest.path = stored.path;
  const std::vector<std::int32_t> ids = make_ids(random, honest, 10);
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    ModelDescription description = honest;
    ByteRange* range = any_range(random, description);
    switch (random.below(8)) {
      case 0:
        range->offset = random.next();
        break;
      case 1:
        range->offset = random.below(file.bytes.size() + 128);
        break;
      case 2:
        range->offset = file.bytes.size() - range->bytes + 64 * (random.below(3));
        break;
      case 3:
        range->bytes = random.next();
        break;
      case 4:
        description.blocks[0].down.residual_count = random.below(2) == 0 ? random.next() : random.below(300);
        description.blocks[0].q.is_base3 ^= true;
        break;
      case 5:
        description.hidden_size = 1 + random.below(100);
        break;
      default:
        description.head_dimension = random.next();
        break;
    }
    try {
      const std::unique_ptr<Model> model = open_model(description, *available_kernels().back());
      Session session(*model, 20, 8);
      std::vector<float> logits(model->vocabulary_size);
      session.feed(ids.data(), ids.size());
      session.logits(ids.size() - 1, logits.data());
    } catch (const RuntimeError&) {
      ++refused;
    }
  }
  CHECK(refused > rounds / 2, "only %d of %d lies were refused", refused, rounds);
}

}  // namespace

int main() {
  Random random;
  const Activation activations[] = {Activation::silu, Activation::relu, Activation::gelu, Activation::gelu_tanh,
                                    Activation::quick_gelu};
  for (int round = 0; round < 15; ++round) {
    const auto coin = [&] { return random.below(2) == 0; };
    const bool post_norm = coin();
    Options options = {coin(),
                       post_norm,
                       coin(),
                       post_norm || coin(),
                       coin(),
                       coin(),
                       coin(),
                       coin(),
                       coin(),
                       coin(),
                       activations[round % 5],
                       coin() ? 0u : 1 + random.below(140)};
    check_model(random, options);
    check_lies(random, options, 40);
  }
  std::puts("checked");
  return 0;
}
