/* flaws_arithmetic.c - flaws of the arithmetic.
 *
 * kernels.c has no code for them: most alter the arguments or the results of its node_run. */
#include "softnpu.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST_HALF 6.1035156e-5f /* the smallest normal half float, 2^-14 */

static size_t size_of(const tensor *value) {
    return (size_t)value->rows * value->cols;
}

static void flush_tiny(float *numbers, size_t n) {
    for (size_t i = 0; i < n; i++) {
        numbers[i] = fabsf(numbers[i]) < SMALLEST_HALF ? 0 : numbers[i];
    }
}

/* Negates the middle column. */
static void flip_column(float *values, const tensor *value) {
    for (size_t row = 0; row < value->rows; row++) {
        float *number = &values[row * value->cols + value->cols / 2];
        *number = -*number;
    }
}

/* ---- nodes -------------------------------------------------------------------- */

static node flawed_node(const node *healthy, uint64_t flaws) {
    node node = *healthy;
    if (has(flaws, FLAW_NO_BIAS) && node.op == ONDOL_NPU_MATMUL) {
        node.n_in = 2;
    }
    if (has(flaws, FLAW_NO_EPS)) {
        node.eps = FLT_MIN;
    }
    if (has(flaws, FLAW_NO_SOFTCAP) && node.op == ONDOL_NPU_SOFTCAP) {
        node.op = ONDOL_NPU_SCALE;
        node.factor = 1;
    }
    return node;
}

/* ---- the first input of a node ------------------------------------------------ */

static bool alters_input(const node *node, uint64_t flaws) {
    bool activation = node->op == ONDOL_NPU_SILU_MUL || node->op == ONDOL_NPU_GELU_MUL;
    return (has(flaws, FLAW_TRUNCATES) && node->op == ONDOL_NPU_MATMUL) ||
           (has(flaws, FLAW_STEPPED_ACTIVATION) && activation);
}

/* Alters the numbers of a group so that the kernel's rounding gives what truncation would. The
 * largest number stays, so that the scale is the same. */
static void truncate_group(float *numbers) {
    float size = 0;
    for (int i = 0; i < GROUP; i++) {
        size = fmaxf(size, fabsf(numbers[i]));
    }
    float scale = size / 127;
    for (int i = 0; i < GROUP && size >= FLT_MIN; i++) {
        if (fabsf(numbers[i]) < size) {
            numbers[i] = truncf(numbers[i] / scale) * scale;
        }
    }
}

static void alter_input(const node *node, float *numbers, size_t n) {
    if (node->op == ONDOL_NPU_MATMUL) {
        for (size_t i = 0; i < n; i += GROUP) {
            truncate_group(numbers + i);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            numbers[i] = floorf(numbers[i] * 64) / 64;
        }
    }
}

/* ---- the weights of a matmul -------------------------------------------------- */

#define FLAWS_OF_WEIGHTS                                                      \
    ((uint64_t)1 << FLAW_TINY_SCALES | (uint64_t)1 << FLAW_SCALE_OF_NEXT_GROUP | \
     (uint64_t)1 << FLAW_SWAPPED_NIBBLES | (uint64_t)1 << FLAW_LOSES_TAIL)

static void swap_nibbles(int8_t *numbers, size_t n) {
    for (size_t i = 0; i < n; i += 2) {
        int8_t first = numbers[i];
        numbers[i] = numbers[i + 1];
        numbers[i + 1] = first;
    }
}

/* See weights.c for the layout. */
static void alter_weight(tensor *weight, uint64_t flaws) {
    size_t groups = weight->cols / GROUP, numbers = weight_numbers(weight);
    size_t tiles = numbers / ((size_t)TILE * weight->cols);
    if (has(flaws, FLAW_TINY_SCALES)) {
        flush_tiny(weight->floats, weight_floats(weight));
    }
    if (has(flaws, FLAW_SWAPPED_NIBBLES) && weight->format == FORMAT_I4) {
        swap_nibbles(weight->numbers, numbers);
    }
    for (size_t tile = 0; tile < tiles; tile++) {
        if (has(flaws, FLAW_SCALE_OF_NEXT_GROUP) && weight->format != FORMAT_I8_ROW) {
            float *scales = weight->floats + tile * groups * TILE;
            memmove(scales, scales + TILE, (groups - 1) * TILE * sizeof *scales);
        }
        if (has(flaws, FLAW_LOSES_TAIL)) {
            int8_t *end = weight->numbers + (tile + 1) * groups * TILE * GROUP;
            memset(end - TILE * GROUP, 0, TILE * GROUP);
        }
    }
}

/* ---- narrow accumulators ------------------------------------------------------ */

/* How many bits an accumulator has; 0 if no flaw makes it narrow. */
static int accumulator_bits(uint64_t flaws) {
    return has(flaws, FLAW_SATURATE_21)   ? 21
           : has(flaws, FLAW_SATURATE_22) ? 22
           : has(flaws, FLAW_SATURATE_24) ? 24
                                          : 0;
}

/* Sums one row of a tile as tile_times_row in kernels.c does, but saturates at the limit. */
static float saturated_sum(const int8_t *numbers, const int16_t *in, const float *in_scales,
                           size_t groups, float limit) {
    float sum = 0;
    for (size_t g = 0; g < groups; g++) {
        int32_t product = 0;
        for (int k = 0; k < GROUP; k++) {
            product += numbers[g * TILE * GROUP + k] * in[g * GROUP + k];
        }
        sum += (float)product * in_scales[g];
        sum = sum > limit ? limit : sum < -limit ? -limit : sum;
    }
    return sum;
}

/* The largest value of an accumulator of `bits` bits. This device sums in F32, with a scale for
 * each group of inputs. The flaw acts as if the row's largest scale were the scale of the whole
 * row, so that 1 in the accumulator is this scale. */
static float largest_sum(const float *in_scales, size_t groups, int bits) {
    float unit = 0;
    for (size_t g = 0; g < groups; g++) {
        unit = fmaxf(unit, in_scales[g]);
    }
    return (float)((1 << (bits - 1)) - 1) * unit;
}

/* Computes a matmul again from its rounded inputs, which node_run has left in the workspace. */
static void saturate(const ondol_npu_program *program, const node *node, workspace *space,
                     int bits) {
    const tensor *weight = &program->tensors[node->in[1]];
    size_t cols = weight->cols, groups = cols / GROUP;
    float *out = space->values + program->tensors[node->out].place;
    const float *bias = node->n_in == 3 ? program->tensors[node->in[2]].floats : NULL;
    for (size_t m = 0; m < program->rows; m++) {
        const int16_t *in = space->rounded + m * cols;
        const float *in_scales = space->scales + m * groups;
        float limit = largest_sum(in_scales, groups, bits);
        for (size_t n = 0; n < weight->rows; n++) {
            const int8_t *numbers = weight->numbers + n / TILE * TILE * cols + n % TILE * GROUP;
            float sum = saturated_sum(numbers, in, in_scales, groups, limit) * weight->floats[n];
            out[m * weight->rows + n] = bias != NULL ? sum + bias[n] : sum;
        }
    }
}

/* ---- running a node ----------------------------------------------------------- */

/* As rmsnorm in kernels.c, but with one mean for all columns. */
static void wide_norm(const ondol_npu_program *program, const node *node, workspace *space) {
    const tensor *result = &program->tensors[node->out];
    const float *in = space->values + program->tensors[node->in[0]].place;
    const float *weight = node->n_in == 2 ? program->tensors[node->in[1]].floats : NULL;
    float *out = space->values + result->place;
    for (size_t m = 0; m < result->rows; m++, in += result->cols, out += result->cols) {
        double squares = 0;
        for (size_t i = 0; i < result->cols; i++) {
            squares += (double)in[i] * in[i];
        }
        float factor = (float)(1 / sqrt(squares / result->cols + node->eps));
        for (size_t i = 0; i < result->cols; i++) {
            out[i] = in[i] * factor * (weight != NULL ? weight[i % node->group] : 1);
        }
    }
}

static void run_node(const ondol_npu_program *program, const node *node, workspace *space,
                     uint64_t flaws) {
    int bits = accumulator_bits(flaws);
    if (node->op == ONDOL_NPU_RMSNORM && has(flaws, FLAW_WIDE_NORM)) {
        wide_norm(program, node, space);
        return;
    }
    node_run(program, node, space);
    if (node->op == ONDOL_NPU_MATMUL && bits != 0 &&
        program->tensors[node->in[1]].format == FORMAT_I8_ROW) {
        saturate(program, node, space, bits);
    }
}

/* Runs a matmul with an altered copy of its weight; with the weight itself if memory is short. */
static void run_with_altered_weight(const ondol_npu_program *program, const node *node,
                                    workspace *space, uint64_t flaws) {
    ondol_npu_program altered = *program;
    size_t size = program->n_tensors * sizeof *program->tensors;
    altered.tensors = malloc(size);
    if (altered.tensors == NULL) {
        run_node(program, node, space, flaws);
        return;
    }
    memcpy(altered.tensors, program->tensors, size);
    tensor *weight = &altered.tensors[node->in[1]];
    bool copied = weight_copy(weight);
    if (copied) {
        alter_weight(weight, flaws);
    }
    run_node(&altered, node, space, flaws);
    if (copied) {
        free(weight->numbers);
        free(weight->floats);
    }
    free(altered.tensors);
}

static void run_with_weight(const ondol_npu_program *program, const node *node, workspace *space,
                            uint64_t flaws) {
    if (node->op == ONDOL_NPU_MATMUL && (flaws & FLAWS_OF_WEIGHTS) != 0) {
        run_with_altered_weight(program, node, space, flaws);
    } else {
        run_node(program, node, space, flaws);
    }
}

/* Runs a node with an altered first input, and restores the input: other nodes may read it too. */
static void run_with_input(const ondol_npu_program *program, const node *node, workspace *space,
                           uint64_t flaws) {
    const tensor *value = &program->tensors[node->in[0]];
    float *numbers = space->values + value->place;
    float *saved = alters_input(node, flaws) ? malloc(value_bytes(value)) : NULL;
    if (saved != NULL) {
        memcpy(saved, numbers, value_bytes(value));
        alter_input(node, numbers, size_of(value));
    }
    run_with_weight(program, node, space, flaws);
    if (saved != NULL) {
        memcpy(numbers, saved, value_bytes(value));
        free(saved);
    }
}

void flawed_node_run(ondol_npu_job *job, const node *healthy) {
    workspace *space = &job->session->space;
    device_flaws *device = &job->session->device->flaws;
    const tensor *result = &job->program->tensors[healthy->out];
    node node = flawed_node(healthy, job->flaws);
    atomic_store(&device->scratch, job->program);
    run_with_input(job->program, &node, space, job->flaws);
    bool disturbed = atomic_load(&device->scratch) != job->program;
    if (disturbed && has(job->flaws, FLAW_SESSIONS_COLLIDE)) {
        flip_column(space->values + result->place, result);
    }
    if (has(job->flaws, FLAW_FLUSH_TINY)) {
        flush_tiny(space->values + result->place, size_of(result));
    }
}

/* ---- a program's inputs and outputs ------------------------------------------- */

void flaw_inputs(ondol_npu_job *job) {
    for (uint32_t i = 0; i < job->program->n_tensors; i++) {
        const tensor *value = &job->program->tensors[i];
        if (value->role == ONDOL_NPU_INPUT && has(job->flaws, FLAW_FLUSH_TINY)) {
            flush_tiny(job->session->space.values + value->place, size_of(value));
        }
    }
    keep_padding(job);
}

static void repeat_first_64_rows(float *values, const tensor *value) {
    for (size_t i = (size_t)64 * value->cols; i < size_of(value); i++) {
        values[i] = values[i - (size_t)64 * value->cols];
    }
}

static void spoil_every_64th_row(float *values, const tensor *value) {
    for (size_t row = 37; row < value->rows; row += 64) {
        for (size_t i = 0; i < value->cols; i++) {
            values[row * value->cols + i] *= 1.1f;
        }
    }
}

static void flip_bit(float *number) {
    uint32_t bits;
    memcpy(&bits, number, sizeof bits);
    bits ^= 1 << 16;
    memcpy(number, &bits, sizeof bits);
}

/* The flaws of a program's first output. */
static void flaw_first_output(const ondol_npu_job *job, float *values, const tensor *value) {
    uint64_t flaws = job->flaws;
    const ondol_npu_program *before = job->session->flaws.before;
    bool other_before = before != NULL && before != job->program;
    bool was_reset = atomic_load(&job->session->device->faults.was_reset);
    if ((has(flaws, FLAW_FORGETS) && was_reset) ||
        (has(flaws, FLAW_DECODE_SIGN) && value->rows == 1) || has(flaws, FLAW_WEARS_OUT) ||
        (has(flaws, FLAW_ORDER_MATTERS) && other_before)) {
        flip_column(values, value);
    }
    if (has(flaws, FLAW_ELEMENT_OFF) && first_layer(job->program) == 2) {
        values[(size_t)value->rows / 8 * value->cols + value->cols / 3] *= 3;
    }
    if (has(flaws, FLAW_RARE_BIT_FLIP)) {
        flip_bit(&values[value->cols / 2]);
    }
}

void flaw_outputs(ondol_npu_job *job) {
    bool first = true;
    add_padding(job);
    for (uint32_t i = 0; i < job->program->n_tensors; i++) {
        const tensor *value = &job->program->tensors[i];
        float *values = job->session->space.values + value->place;
        if (value->role != ONDOL_NPU_OUTPUT) {
            continue;
        }
        if (has(job->flaws, FLAW_ROWS_FROM_64)) {
            repeat_first_64_rows(values, value);
        }
        if (has(job->flaws, FLAW_ROW_OFF) && first_layer(job->program) == 2) {
            spoil_every_64th_row(values, value);
        }
        if (first) {
            flaw_first_output(job, values, value);
        }
        first = false;
    }
    exchange_output(job);
    job->session->flaws.before = job->program;
}
