// The packed runtime for JavaScript: opaque handles for a mapped model and for a sequence, plain typed arrays in and
// out. Everything that JavaScript says about sizes and offsets is checked again (runtime/model.cpp).
#include <memory>

#include "addon/addon.h"
#include "addon/packed_description.h"
#include "cpu/kernel_choice.h"
#include "runtime/error.h"
#include "runtime/logit_comparison.h"
#include "runtime/session.h"
#include "runtime/verification.h"

namespace dbell {
namespace {

struct ModelHandle {
  std::shared_ptr<Model> model;
};
struct SessionHandle {
  std::shared_ptr<Model> model;  // keeps the mapping alive
  std::unique_ptr<Session> session;
};

/// Runs the body and turns what it throws into a JavaScript error with a `code` (engine/contract/errors.ts).
template <class Body>
auto guarded(const Napi::CallbackInfo& info, Body body) -> decltype(body()) {
  const auto fail = [&](const char* code, const std::string& message) {
    Napi::Error error = Napi::Error::New(info.Env(), message);
    error.Set("code", Napi::String::New(info.Env(), code));
    throw error;
  };
  try {
    return body();
  } catch (const RuntimeError& error) {
    fail(error.code, error.what());
  } catch (const std::invalid_argument& error) {
    fail("invalid-input", error.what());
  } catch (const std::bad_alloc&) {
    fail("out-of-memory", "the packed runtime found no memory");
  }
  throw std::logic_error("unreachable");
}

template <class T>
T* handle_of(const Napi::CallbackInfo& info, const char* what) {
  if (info.Length() == 0 || !info[0].IsExternal())
    throw RuntimeError("internal", std::string("a ") + what + " handle is needed");
  return info[0].As<Napi::External<T>>().Data();
}

Model& open_model_of(const Napi::CallbackInfo& info) {
  ModelHandle* handle = handle_of<ModelHandle>(info, "model");
  if (!handle->model) throw RuntimeError("invalid-input", "the packed model is closed");
  return *handle->model;
}

Session& open_session_of(const Napi::CallbackInfo& info) {
  SessionHandle* handle = handle_of<SessionHandle>(info, "session");
  if (!handle->session) throw RuntimeError("invalid-input", "the session is closed");
  return *handle->session;
}

/// A typed array argument of the right element type.
template <class Array>
Array array_of(const Napi::CallbackInfo& info, std::size_t index, napi_typedarray_type type, const char* what) {
  if (info.Length() <= index || !info[index].IsTypedArray() ||
      info[index].As<Napi::TypedArray>().TypedArrayType() != type) {
    throw RuntimeError("internal", std::string(what) + " must be a typed array of the right kind");
  }
  return info[index].As<Array>();
}

void expect_length(std::size_t length, std::size_t expected, const char* what) {
  if (length != expected) {
    throw RuntimeError("invalid-input", std::string(what) + " has " + std::to_string(length) + " elements; " +
                                            std::to_string(expected) + " are needed");
  }
}

/// Kernel table named by an argument, or the chosen one where it is null.
const KernelTable& kernels_of(const Napi::CallbackInfo& info, std::size_t index) {
  if (info.Length() > index && info[index].IsString())
    return kernels_by_name(info[index].As<Napi::String>().Utf8Value());
  return chosen_kernels();
}

int bits_of(const Napi::CallbackInfo& info, std::size_t index) {
  const std::uint64_t bits = to_count(info[index], "activation bits");
  if (bits != 16 && bits != 8 && bits != 6 && bits != 4) {
    throw RuntimeError("invalid-input",
                       "activation bits are " + std::to_string(bits) + "; 16, 8, 6 and 4 are possible");
  }
  return static_cast<int>(bits);
}

CacheType cache_type_of(const Napi::CallbackInfo& info, std::size_t index) {
  const std::string name = info[index].IsString() ? info[index].As<Napi::String>().Utf8Value() : "";
  if (name == "f32") return CacheType::float32;
  if (name == "f16") return CacheType::float16;
  if (name == "int8") return CacheType::int8;
  throw RuntimeError("invalid-input", "the type of the key-value cache is \"" + name + "\"; f32, f16 and int8 are possible");
}

/// Rows of an array whose rows have `width` elements.
std::size_t rows_of(std::size_t length, std::size_t width, const char* what) {
  if (length == 0 || length % width != 0) {
    throw RuntimeError("invalid-input", std::string(what) + " has " + std::to_string(length) +
                                            " elements; a multiple of " + std::to_string(width) + " is needed");
  }
  return length / width;
}

template <class Array, class T>
Array to_array(Napi::Env env, const std::vector<T>& values) {
  Array array = Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Value open(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    if (info.Length() == 0 || !info[0].IsObject()) throw RuntimeError("internal", "a description is needed");
    auto handle = std::make_unique<ModelHandle>();
    handle->model = open_model(description_of(info[0].As<Napi::Object>()), chosen_kernels());
    const Model& model = *handle->model;
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("kernels", Napi::String::New(info.Env(), model.kernels->name));
    result.Set("mappedBytes", Napi::Number::New(info.Env(), static_cast<double>(model.file->size())));
    result.Set("copiedBytes", Napi::Number::New(info.Env(), static_cast<double>(model.copied_bytes())));
    result.Set("tokensPerChunk", Napi::Number::New(info.Env(), static_cast<double>(kTokensPerChunk)));
    result.Set("handle", Napi::External<ModelHandle>::New(info.Env(), handle.release(),
                                                          [](Napi::Env, ModelHandle* data) { delete data; }));
    return result;
  });
}

Napi::Value close(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    handle_of<ModelHandle>(info, "model")->model.reset();
    return info.Env().Undefined();
  });
}

Napi::Value create_session(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    open_model_of(info);
    auto handle = std::make_unique<SessionHandle>();
    handle->model = handle_of<ModelHandle>(info, "model")->model;
    handle->session = std::make_unique<Session>(
        *handle->model, static_cast<std::size_t>(to_count(info[1], "context length")), bits_of(info, 2),
        cache_type_of(info, 3));
    return Napi::External<SessionHandle>::New(info.Env(), handle.release(),
                                              [](Napi::Env, SessionHandle* data) { delete data; });
  });
}

Napi::Value close_session(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    SessionHandle* handle = handle_of<SessionHandle>(info, "session");
    handle->session.reset();
    handle->model.reset();
    return info.Env().Undefined();
  });
}

Napi::Value reset_session(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    open_session_of(info).reset();
    return info.Env().Undefined();
  });
}

Napi::Value session_state(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const Session& session = open_session_of(info);
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("position", Napi::Number::New(info.Env(), static_cast<double>(session.position())));
    result.Set("cacheBytes", Napi::Number::New(info.Env(), static_cast<double>(session.cache_bytes())));
    result.Set("scratchBytes", Napi::Number::New(info.Env(), static_cast<double>(session.workspace_bytes())));
    return result;
  });
}

/// (session, ids, logits or null): appends a chunk; with logits fills them after its last token.
Napi::Value feed(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    Session& session = open_session_of(info);
    const auto ids = array_of<Napi::Int32Array>(info, 1, napi_int32_array, "ids");
    session.feed(ids.Data(), ids.ElementLength());
    if (info.Length() > 2 && info[2].IsTypedArray()) {
      auto logits = array_of<Napi::Float32Array>(info, 2, napi_float32_array, "logits");
      expect_length(logits.ElementLength(), handle_of<SessionHandle>(info, "session")->model->vocabulary_size,
                    "logits");
      session.logits(ids.ElementLength() - 1, logits.Data());
    }
    return info.Env().Undefined();
  });
}

/// (session, ids, targets): appends a chunk and returns the losses of targets[i] after ids[0 … i].
Napi::Value losses(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    Session& session = open_session_of(info);
    const auto ids = array_of<Napi::Int32Array>(info, 1, napi_int32_array, "ids");
    const auto targets = array_of<Napi::Int32Array>(info, 2, napi_int32_array, "targets");
    expect_length(targets.ElementLength(), ids.ElementLength(), "targets");
    session.feed(ids.Data(), ids.ElementLength());
    Napi::Float32Array result = Napi::Float32Array::New(info.Env(), targets.ElementLength());
    session.losses(targets.Data(), targets.ElementLength(), result.Data());
    return result;
  });
}

/// (session, rows in the newest chunk, first row, out [count, vocabulary]): logits after tokens of the chunk fed last.
Napi::Value chunk_logits(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    Session& session = open_session_of(info);
    const std::size_t chunk = static_cast<std::size_t>(to_count(info[1], "rows of the chunk")),
                      first = static_cast<std::size_t>(to_count(info[2], "first row"));
    auto out = array_of<Napi::Float32Array>(info, 3, napi_float32_array, "logits");
    const std::size_t count =
        rows_of(out.ElementLength(), handle_of<SessionHandle>(info, "session")->model->vocabulary_size, "logits");
    // What the hidden state holds beyond the newest chunk is stale.
    if (chunk > kTokensPerChunk || chunk > session.position() || first > chunk || count > chunk - first)
      throw RuntimeError("internal", "rows " + std::to_string(first) + " to " + std::to_string(first + count) +
                                         " are not in the newest chunk of " + std::to_string(chunk));
    session.logits(first, count, out.Data());
    return info.Env().Undefined();
  });
}

/// (original, candidate [rows, vocabulary], targets [rows], out [rows, 5]): see logit_comparison.h.
Napi::Value compare_logits(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto original = array_of<Napi::Float32Array>(info, 0, napi_float32_array, "original");
    const auto candidate = array_of<Napi::Float32Array>(info, 1, napi_float32_array, "candidate");
    const auto targets = array_of<Napi::Int32Array>(info, 2, napi_int32_array, "targets");
    expect_length(candidate.ElementLength(), original.ElementLength(), "candidate");
    const std::size_t rows = targets.ElementLength();
    if (rows == 0 || original.ElementLength() == 0 || original.ElementLength() % rows != 0)
      throw RuntimeError("internal", "logits of " + std::to_string(original.ElementLength()) + " values for " +
                                         std::to_string(rows) + " targets");
    Napi::Float64Array out = Napi::Float64Array::New(info.Env(), rows * kComparisonValues);
    compare_logits(chosen_kernels(), original.Data(), candidate.Data(), targets.Data(), rows,
                   original.ElementLength() / rows, out.Data());
    return out;
  });
}

Napi::Value kernel_names(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (const KernelTable* table : available_kernels())
    names.Set(names.Length(), Napi::String::New(info.Env(), table->name));
  return names;
}

/// (model, name, x, bits, kernels or null) → y [tokens, out].
Napi::Value linear_forward(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const Linear& linear = open_model_of(info).linear(info[1].ToString().Utf8Value());
    const auto x = array_of<Napi::Float32Array>(info, 2, napi_float32_array, "x");
    const std::size_t tokens = rows_of(x.ElementLength(), linear.packed.in_features, "x");
    return to_array<Napi::Float32Array>(info.Env(),
                                        verify_linear(kernels_of(info, 4), linear, x.Data(), tokens, bits_of(info, 3)));
  });
}

/// (model, name, x, bits, kernels or null) → { values [tokens, in], scales [tokens] or, by block, [tokens, blocks] }.
Napi::Value quantize_activations(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const Linear& linear = open_model_of(info).linear(info[1].ToString().Utf8Value());
    const auto x = array_of<Napi::Float32Array>(info, 2, napi_float32_array, "x");
    const std::size_t tokens = rows_of(x.ElementLength(), linear.packed.in_features, "x");
    const int bits = bits_of(info, 3);
    if (bits == 16) throw RuntimeError("invalid-input", "activations of 16 bits are not quantized");
    const QuantizedRows rows = verify_quantization(kernels_of(info, 4), linear, x.Data(), tokens, bits);
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("values", to_array<Napi::Int8Array>(info.Env(), rows.values));
    result.Set("scales", to_array<Napi::Float32Array>(info.Env(), rows.scales));
    return result;
  });
}

/// (model, name, values Int8Array [tokens, in], kernels or null) → Int32Array [tokens, out, blocks, integers].
Napi::Value masked_sums(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const Linear& linear = open_model_of(info).linear(info[1].ToString().Utf8Value());
    const auto values = array_of<Napi::Int8Array>(info, 2, napi_int8_array, "values");
    const std::size_t tokens = rows_of(values.ElementLength(), linear.packed.in_features, "values");
    return to_array<Napi::Int32Array>(info.Env(), verify_integers(kernels_of(info, 3), linear, values.Data(), tokens));
  });
}

/// (model, name, values Int8Array [tokens, in], kernels or null) → Int32Array [tokens, out, residual blocks].
Napi::Value residual_sums(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const Linear& linear = open_model_of(info).linear(info[1].ToString().Utf8Value());
    const auto values = array_of<Napi::Int8Array>(info, 2, napi_int8_array, "values");
    const std::size_t tokens = rows_of(values.ElementLength(), linear.packed.in_features, "values");
    return to_array<Napi::Int32Array>(info.Env(),
                                      verify_residual_integers(kernels_of(info, 3), linear, values.Data(), tokens));
  });
}

/// (model, block, hidden [tokens, hidden size], bits) → the block run as a sequence of its own.
BlockStages run_one_block(const Napi::CallbackInfo& info) {
  const Model& model = open_model_of(info);
  const std::uint64_t index = to_count(info[1], "block");
  if (index >= model.blocks.size())
    throw RuntimeError("invalid-input", "block " + std::to_string(index) + " does not exist");
  const auto hidden = array_of<Napi::Float32Array>(info, 2, napi_float32_array, "hidden");
  const std::size_t tokens = rows_of(hidden.ElementLength(), model.hidden_size, "hidden");
  return verify_block_stages(model, static_cast<std::size_t>(index), hidden.Data(), tokens, bits_of(info, 3));
}

/// → the block's output.
Napi::Value block_forward(const Napi::CallbackInfo& info) {
  return guarded(info,
                 [&]() -> Napi::Value { return to_array<Napi::Float32Array>(info.Env(), run_one_block(info).hidden); });
}

/// → the block's output and what entered its four stages.
Napi::Value block_stages(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const BlockStages stages = run_one_block(info);
    Napi::Array inputs = Napi::Array::New(info.Env());
    for (const auto& input : stages.stage_inputs)
      inputs.Set(inputs.Length(), to_array<Napi::Float32Array>(info.Env(), input));
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("hidden", to_array<Napi::Float32Array>(info.Env(), stages.hidden));
    result.Set("stageInputs", inputs);
    return result;
  });
}

/// (model, ids, bits) → hidden states before block 0 and after every block, each [tokens, hidden size].
Napi::Value hidden_states(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const Model& model = open_model_of(info);
    const auto ids = array_of<Napi::Int32Array>(info, 1, napi_int32_array, "ids");
    Napi::Array result = Napi::Array::New(info.Env());
    for (const auto& state : verify_hidden_states(model, ids.Data(), ids.ElementLength(), bits_of(info, 2))) {
      result.Set(result.Length(), to_array<Napi::Float32Array>(info.Env(), state));
    }
    return result;
  });
}

}  // namespace

void register_runtime(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("packedOpen", open);
  add("packedClose", close);
  add("packedCreateSession", create_session);
  add("packedCloseSession", close_session);
  add("packedResetSession", reset_session);
  add("packedSessionState", session_state);
  add("packedFeed", feed);
  add("packedLosses", losses);
  add("packedChunkLogits", chunk_logits);
  add("compareLogits", compare_logits);
  add("packedKernelNames", kernel_names);
  add("packedLinearForward", linear_forward);
  add("packedQuantizeActivations", quantize_activations);
  add("packedMaskedSums", masked_sums);
  add("packedResidualSums", residual_sums);
  add("packedBlockForward", block_forward);
  add("packedBlockStages", block_stages);
  add("packedHiddenStates", hidden_states);
}

}  // namespace dbell
