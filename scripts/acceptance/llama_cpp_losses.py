"""What llama-cpp-losses.ts computes, by a llama.cpp that multiplies in floating point.

    python llama_cpp_losses.py REQUEST      REQUEST is a JSON file as that script's (LlamaRequest)

Prints {"losses": [[...], ...]}: -ln p of every token but the first, by window, in float64.

llama.cpp's kernels for the CPU round activations to 8 bits, in blocks of 32, before they multiply packed weights. Its BLAS backend, which takes batches of 32 tokens
and more, unpacks the weights to float32 and rounds nothing.
"""

import ctypes
import json
import sys

import llama_cpp
import numpy
from llama_cpp._ggml import libggml

# Without a callback the library writes its progress to the terminal.
quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    windows = request["windows"]
    length = max(len(ids) for ids in windows)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    libggml.ggml_backend_reg_by_name.restype = ctypes.c_void_p
    if libggml.ggml_backend_reg_by_name(b"BLAS") is None:
        raise SystemExit("this llama.cpp was built without BLAS")

    model_options = llama_cpp.llama_model_default_params()
    # Repacked weights would keep BLAS from them.
    model_options.use_extra_bufts = False
    model = llama_cpp.llama_model_load_from_file(request["gguf"].encode(), model_options)
    if not model:
        raise SystemExit(f"llama.cpp cannot load {request['gguf']}")
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = length
    options.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama_cpp.llama_init_from_model(model, options)
    vocabulary_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))

    losses = [losses_of(context, ids, vocabulary_size) for ids in windows]
    print(json.dumps({"losses": losses}))


def losses_of(context: ctypes.c_void_p, ids: list[int], vocabulary_size: int) -> list[float]:
    """-ln p of every token of a window that stands alone, but the first."""
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for position, token in enumerate(ids):
        batch.token[position] = token
        batch.pos[position] = position
        batch.n_seq_id[position] = 1
        batch.seq_id[position][0] = 0
        batch.logits[position] = True
    status = llama_cpp.llama_decode(context, batch)
    llama_cpp.llama_batch_free(batch)
    if status != 0:
        raise SystemExit(f"llama_decode failed: {status}")
    all_logits = numpy.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (len(ids), vocabulary_size))
    losses = []
    for position, following in enumerate(ids[1:]):
        logits = all_logits[position].astype(numpy.float64)
        top = logits.max()
        losses.append(float(top + numpy.log(numpy.exp(logits - top).sum()) - logits[following]))
    return losses


main()
