#!/usr/bin/env python3
"""Writes quant_rows.bin: rows of floats, and what llama.cpp's quantizers make of them.

    pip install numpy gguf==0.19.0
    python quant_rows.py path/to/libggml-base.so

The number of rows and columns (u32, little-endian), an importance for each
column and the rows (f32); then for each format, without and with importance:
its GGUF number, 0 or 1 (u32), and the bytes of all rows.
"""

import ctypes
import struct
import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T

COLUMNS = 512
FORMATS = [
    T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0,
    T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.IQ4_XS, T.MXFP4,
]


def make_rows(rng):
    gauss = lambda: rng.standard_normal(COLUMNS)
    return np.array([
        0.02 * gauss(),
        0.02 * rng.standard_t(3, COLUMNS),  # heavy tails
        rng.laplace(size=COLUMNS),
        rng.uniform(-1, 1, COLUMNS),
        rng.uniform(0, 1, COLUMNS),
        0.02 * gauss() + gauss() * (rng.random(COLUMNS) < 0.01),  # outliers
        gauss() * np.exp(gauss()),  # a scale for each column
        gauss() * (rng.random(COLUMNS) < 0.1) + 0.0,  # sparse, with no negative zero
        1 + 0.1 * gauss(),
        -1 + 0.1 * gauss(),
        np.full(COLUMNS, 0.3),
        np.full(COLUMNS, -0.7),
        np.zeros(COLUMNS),
        1e-3 * gauss(),
        1e-6 * gauss(),
        1e-9 * gauss(),
        1e4 * gauss(),
    ], dtype="<f4")


class InitParams(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def load_ggml(path):
    ggml = ctypes.CDLL(path)
    ggml.ggml_init.argtypes = [InitParams]
    ggml.ggml_init.restype = ctypes.c_void_p
    ggml.ggml_init(InitParams(1 << 20, None, False))  # fills its tables of f16
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, size, size, size, pointer]
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    return ggml


def quantize(ggml, dtype, rows, importance):
    block, size = GGML_QUANT_SIZES[dtype]
    out = np.zeros(rows.size // block * size, np.uint8)
    weights = None if importance is None else importance.ctypes.data
    written = ggml.ggml_quantize_chunk(
        int(dtype), rows.ctypes.data, out.ctypes.data, 0, *rows.shape, weights
    )
    assert written == out.size
    return out.tobytes()


def main():
    ggml = load_ggml(sys.argv[1])
    rng = np.random.default_rng(3)
    rows = make_rows(rng)
    importance = np.exp(rng.standard_normal(COLUMNS)).astype("<f4")
    with open(Path(__file__).with_suffix(".bin"), "wb") as out:
        out.write(struct.pack("<2I", *rows.shape) + importance.tobytes() + rows.tobytes())
        for dtype in FORMATS:
            for weighted in [0, 1]:
                out.write(struct.pack("<2I", int(dtype), weighted))
                out.write(quantize(ggml, dtype, rows, importance if weighted else None))


main()
