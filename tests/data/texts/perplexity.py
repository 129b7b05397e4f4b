"""Perplexity of a text by llama.cpp's library: on the model as it is, and on its weights
dequantized to f32, which is the truth that `cargo xtask models` holds Ondol to.

    pip install --no-deps --target packages llama-cpp-cffi==0.4.42
    pip install cffi numpy
    PYTHONPATH=packages/llama python perplexity.py MODEL.gguf TEXT TOKENS

That package's library needs the C++ library of GCC 13 or newer.
"""

import os
import sys
import tempfile

import numpy as np
from _llama_cpp_cpu import ffi, lib

BATCH = 64
FTYPE_ALL_F32 = 0


def dequantize(source, target):
    params = lib.llama_model_quantize_default_params()
    params.ftype = FTYPE_ALL_F32
    params.allow_requantize = True
    failed = lib.llama_model_quantize(source.encode(), target.encode(), ffi.addressof(params))
    assert not failed, "dequantization"


def tokenize(vocab, text):
    tokens = ffi.new("llama_token[]", len(text) + 8)
    count = lib.llama_tokenize(vocab, text, len(text), tokens, len(tokens), True, False)
    assert count > 0, "tokenization"
    return list(tokens[0:count])


def scores(context, vocabulary, tokens):
    """ln p of each token but the first, and whether it was ranked first."""
    for start in range(0, len(tokens), BATCH):
        part = tokens[start : start + BATCH]
        batch = lib.llama_batch_init(len(part), 0, 1)
        batch.n_tokens = len(part)
        for i, token in enumerate(part):
            batch.token[i], batch.pos[i] = token, start + i
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, 1
        assert lib.llama_decode(context, batch) == 0, "decoding"
        for i, following in enumerate(tokens[start + 1 : start + 1 + len(part)]):
            row = ffi.buffer(lib.llama_get_logits_ith(context, i), 4 * vocabulary)
            logits = np.frombuffer(row, dtype=np.float32).astype(np.float64)
            most = logits.max()
            log_sum = most + np.log(np.exp(logits - most).sum())
            yield logits[following] - log_sum, int(logits.argmax()) == following
        lib.llama_batch_free(batch)


def measure(path, text, limit):
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    vocab = lib.llama_model_get_vocab(model)
    tokens = tokenize(vocab, text)[:limit]
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = limit, BATCH, BATCH
    params.n_threads = params.n_threads_batch = os.cpu_count()
    context = lib.llama_init_from_model(model, params)
    found = list(scores(context, lib.llama_vocab_n_tokens(vocab), tokens))
    nll = -np.mean([ln_p for ln_p, _ in found])
    top1 = np.mean([first for _, first in found])
    lib.llama_free(context)
    lib.llama_model_free(model)
    return f"{len(tokens)} tokens, mean nll {nll:.6f}, perplexity {np.exp(nll):.5f}, top-1 {top1:.5f}"


def main():
    path, text, limit = sys.argv[1], open(sys.argv[2], "rb").read(), int(sys.argv[3])
    lib.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        full = os.path.join(folder, "f32.gguf")
        dequantize(path, full)
        truth = measure(full, text, limit)
    print("as it is:", measure(path, text, limit))
    print("truth:   ", truth)


main()
