#!/usr/bin/env python3
"""Writes quant_mixes.txt: which type llama.cpp's `llama-quantize` gives each tensor.

    pip install numpy gguf==0.19.0
    python quant_mixes.py path/to/llama-quantize

For each model shape a small file is made and quantized (as a dry run) to each
mix. The output has, for each shape, a line `model layers queries_per_kv experts
tied_head`, a line for each mix (`mix name type type ...`, `.` for the mix's
most frequent type, which follows the name) and a line for each matrix (`tensor
name columns rows ...`) in the order of the types. The rest stays F32.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

MIXES = (
    "F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M "
    "Q6_K IQ4_NL IQ4_XS MXFP4_MOE"
).split()

# layers, columns, feed-forward columns, heads, kv heads, experts, tied head
SHAPES = [
    (17, 256, 512, 8, 8, 0, False),
    (18, 256, 512, 8, 2, 0, True),
    (26, 288, 1024, 9, 3, 0, True),
    (9, 96, 80, 6, 2, 0, False),
    (8, 256, 256, 8, 2, 8, False),
    (10, 256, 256, 8, 4, 4, True),
]
VOCABULARY = 32


def tensors(layers, cols, ff, heads, kv, experts, tied):
    kv_cols = cols // heads * kv
    yield "token_embd.weight", (VOCABULARY, cols)
    yield "output_norm.weight", (cols,)
    if not tied:
        yield "output.weight", (VOCABULARY, cols)
    for i in range(layers):
        yield f"blk.{i}.attn_norm.weight", (cols,)
        yield f"blk.{i}.attn_q.weight", (cols, cols)
        yield f"blk.{i}.attn_q.bias", (cols,)
        yield f"blk.{i}.attn_k.weight", (kv_cols, cols)
        yield f"blk.{i}.attn_v.weight", (kv_cols, cols)
        yield f"blk.{i}.attn_output.weight", (cols, cols)
        yield f"blk.{i}.ffn_norm.weight", (cols,)
        suffix, lead = ("_exps", (experts,)) if experts else ("", ())
        if experts:
            yield f"blk.{i}.ffn_gate_inp.weight", (experts, cols)
        yield f"blk.{i}.ffn_gate{suffix}.weight", (*lead, ff, cols)
        yield f"blk.{i}.ffn_up{suffix}.weight", (*lead, ff, cols)
        yield f"blk.{i}.ffn_down{suffix}.weight", (*lead, cols, ff)


def write_model(path, shape):
    layers, cols, ff, heads, kv, experts, _ = shape
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(64)
    writer.add_embedding_length(cols)
    writer.add_feed_forward_length(ff)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(cols // heads)
    writer.add_vocab_size(VOCABULARY)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    for name, dims in tensors(*shape):
        writer.add_tensor(name, np.zeros(dims, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def mixed_types(quantizer, path, mix):
    command = [quantizer, "--dry-run", str(path), mix]
    log = subprocess.run(command, capture_output=True, text=True, check=True)
    types = {}
    line = re.compile(r"\[ *\d+/ *\d+\] (\S+) +- \[.*\], type = +(\S+),.*MiB(?: \((\S+)\))?$")
    for found in map(line.match, (log.stdout + log.stderr).splitlines()):
        if found:
            types[found[1]] = (found[3] or found[2]).upper()
    return types


def main():
    quantizer = sys.argv[1]
    lines = []
    for shape in SHAPES:
        layers, _, _, heads, kv, experts, tied = shape
        matrices = {name: dims for name, dims in tensors(*shape) if len(dims) > 1}
        lines.append(f"model {layers} {heads // kv} {experts} {str(tied).lower()}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gguf"
            write_model(path, shape)
            for mix in MIXES:
                types = mixed_types(quantizer, path, mix)
                assert all(types.pop(name) == "F32" for name in set(types) - set(matrices))
                types = [types[name] for name in matrices]
                usual = max(set(types), key=types.count)
                types = ["." if dtype == usual else dtype for dtype in types]
                lines.append(" ".join(["mix", mix.removesuffix("_MOE"), usual, *types]))
        for name, dims in matrices.items():
            lines.append(" ".join(["tensor", name, *map(str, reversed(dims))]))
    Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")


main()
