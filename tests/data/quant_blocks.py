#!/usr/bin/env python3
"""Writes quant_blocks.bin: blocks of random bytes, and their values by the Python package `gguf`.

    pip install numpy gguf==0.19.0
    python quant_blocks.py

For each format: its GGUF number, the number of blocks and of elements (u32,
little-endian), the blocks' bytes, and the values (f32). The f16 scales of
some blocks are planted: infinities, NaN, zeros, subnormals, the largest.
"""

import struct
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# Offsets of the f16 fields of each format.
F16_FIELDS = {
    T.F16: [0], T.BF16: [0],
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0], T.MXFP4: [],
}
PLANTED = [0x7C00, 0xFC00, 0x7E00, 0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF]
# The exponents at both ends of MXFP4.
EXPONENTS = [0, 1, 2, 127, 253, 254, 255]


def random_blocks(rng, dtype, count):
    blocks = rng.integers(0, 256, (count, GGML_QUANT_SIZES[dtype][1]), dtype=np.uint8)
    for i, bits in enumerate(PLANTED):
        for field in F16_FIELDS[dtype]:
            blocks[i, field:field + 2] = list(struct.pack("<H", bits))
    if dtype == T.MXFP4:
        blocks[:len(EXPONENTS), 0] = EXPONENTS
    return blocks


def main():
    rng = np.random.default_rng(2)
    with open(Path(__file__).with_suffix(".bin"), "wb") as out, np.errstate(all="ignore"):
        for dtype in F16_FIELDS:
            length = GGML_QUANT_SIZES[dtype][0]
            blocks = random_blocks(rng, dtype, {1: 256, 32: 24, 256: 12}[length])
            values = dequantize(blocks, dtype).astype("<f4")
            out.write(struct.pack("<3I", int(dtype), len(blocks), values.size))
            out.write(blocks.tobytes() + values.tobytes())


main()
