/* weights.c - how the device keeps weights.
 *
 * A weight of a matmul is kept in tiles of TILE rows. A tile has the first GROUP columns of each of
 * its rows, then the next GROUP columns of each, which is the order in which the kernel reads them:
 *
 *     numbers[tile][group][row of the tile][column of the group]
 *     scales[tile][group][row of the tile], or scales[tile][row of the tile]
 *
 * The last tile is padded with rows of zeros. Numbers of four bits are widened to eight, and
 * scales to F32. All other weights are F32 and stay as they are. */
#include "softnpu.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool weight_storable(const tensor *weight) {
    if (weight->rows > MAX_SIDE || weight->cols > MAX_SIDE) {
        return false;
    }
    bool matrix = weight->cols % GROUP == 0 && weight->cols <= MAX_INNER;
    return weight->format == FORMAT_F32 || (weight->format < FORMAT_OTHER && matrix);
}

static size_t padded_rows(const tensor *weight) {
    return ((size_t)weight->rows + TILE - 1) / TILE * TILE;
}

static size_t scales_of_row(const tensor *weight) {
    return weight->format == FORMAT_I8_ROW ? 1 : weight->cols / GROUP;
}

size_t weight_numbers(const tensor *weight) {
    return weight->format == FORMAT_F32 ? 0 : padded_rows(weight) * weight->cols;
}

size_t weight_floats(const tensor *weight) {
    if (weight->format == FORMAT_F32) {
        return (size_t)weight->rows * weight->cols;
    }
    return padded_rows(weight) * scales_of_row(weight);
}

bool weight_alloc(tensor *weight) {
    if (weight->format != FORMAT_F32) {
        weight->numbers = calloc(weight_numbers(weight), sizeof *weight->numbers);
    }
    weight->floats = calloc(weight_floats(weight), sizeof *weight->floats);
    return weight->floats != NULL && (weight->format == FORMAT_F32 || weight->numbers != NULL);
}

/* ---- the host's numbers --------------------------------------------------------- */

static uint64_t host_bytes(const tensor *weight) {
    uint64_t n = (uint64_t)weight->rows * weight->cols;
    switch (weight->format) {
    case FORMAT_F32:
        return n * 4;
    case FORMAT_I4:
        return n / 2;
    default:
        return n;
    }
}

static uint64_t host_scale_bytes(const tensor *weight) {
    uint64_t n = (uint64_t)weight->rows * scales_of_row(weight);
    return weight->format == FORMAT_I8_ROW ? n * 4 : n * 2;
}

uint64_t weight_bytes(const tensor *weight) {
    uint64_t scales = weight->format == FORMAT_F32 ? 0 : host_scale_bytes(weight);
    return host_bytes(weight) + scales;
}

/* The number at an index of a weight of four or eight bits. */
static int8_t host_number(const tensor *weight, const uint8_t *data, size_t i) {
    if (weight->format != FORMAT_I4) {
        return (int8_t)data[i];
    }
    int bits = i % 2 == 0 ? data[i / 2] & 15 : data[i / 2] >> 4;
    return (int8_t)(bits < 8 ? bits : bits - 16);
}

static float half_to_float(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float size;
    if (exponent == 0) {
        size = ldexpf((float)fraction, -24);
    } else if (exponent == 31) {
        size = fraction == 0 ? INFINITY : NAN;
    } else {
        size = ldexpf((float)(1024 + fraction), exponent - 25);
    }
    return half & 0x8000 ? -size : size;
}

/* The host does not promise that scales are aligned, so they are read by memcpy. */
static float host_scale(const tensor *weight, const uint8_t *scales, size_t i) {
    if (weight->format == FORMAT_I8_ROW) {
        float scale;
        memcpy(&scale, scales + i * sizeof scale, sizeof scale);
        return scale;
    }
    uint16_t half;
    memcpy(&half, scales + i * sizeof half, sizeof half);
    return half_to_float(half);
}

static void pack_row(tensor *weight, const ondol_npu_tensor *from, size_t row) {
    size_t first_of_tile = row / TILE * TILE, in_tile = row % TILE;
    size_t cols = weight->cols, n_scales = scales_of_row(weight);
    int8_t *numbers = weight->numbers + first_of_tile * cols + in_tile * GROUP;
    float *scales = weight->floats + first_of_tile * n_scales + in_tile;
    for (size_t i = 0; i < cols; i++) {
        numbers[i / GROUP * GROUP * TILE + i % GROUP] =
            host_number(weight, from->data, row * cols + i);
    }
    for (size_t i = 0; i < n_scales; i++) {
        scales[i * TILE] = host_scale(weight, from->scales, row * n_scales + i);
    }
}

static bool data_complete(const tensor *weight, const ondol_npu_tensor *from) {
    if (from->data == NULL || from->data_size != host_bytes(weight)) {
        return false;
    }
    return weight->format == FORMAT_F32 ||
           (from->scales != NULL && from->scales_size == host_scale_bytes(weight));
}

ondol_npu_status weight_take(tensor *weight, const ondol_npu_tensor *from, uint32_t id,
                             ondol_npu_error *error) {
    if (!weight_storable(weight)) {
        return fail(error, ONDOL_NPU_E_UNSUPPORTED,
                    "tensor %" PRIu32 ": a weight of a format or shape that the device has not",
                    id);
    }
    if (!data_complete(weight, from)) {
        return fail(error, ONDOL_NPU_E_INVALID,
                    "tensor %" PRIu32 ": its data or scales are missing or not of the right size",
                    id);
    }
    if (!weight_alloc(weight)) {
        return no_memory(error);
    }
    if (weight->format == FORMAT_F32) {
        memcpy(weight->floats, from->data, from->data_size);
        return ONDOL_NPU_OK;
    }
    for (size_t row = 0; row < weight->rows; row++) {
        pack_row(weight, from, row);
    }
    return ONDOL_NPU_OK;
}
