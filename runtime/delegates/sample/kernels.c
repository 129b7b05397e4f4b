/* kernels.c - the arithmetic: what an NPU's hardware does.
 *
 * Every row is computed from that row alone and by the same code whatever the number of rows,
 * so that its result does not depend on the rows beside it. */
#include "softnpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* On x86-64 the compiler makes a second version of a function for AVX2, and the dynamic linker
 * chooses the one that the CPU can run (an "ifunc" of glibc). Builds with a sanitizer do without,
 * because the linker chooses before the sanitizer's run-time is initialized. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FAST __attribute__((target_clones("avx2", "default")))
#else
#define FAST
#endif

/* ---- the workspace -------------------------------------------------------------- */

bool workspace_new(workspace *space, ondol_npu_program *const *programs, uint32_t n) {
    size_t values = 0, rounded = 0, inner = 0;
    for (uint32_t i = 0; i < n; i++) {
        const ondol_npu_program *program = programs[i];
        size_t inputs = (size_t)program->rows * program->max_inner;
        values = program->value_floats > values ? program->value_floats : values;
        rounded = inputs > rounded ? inputs : rounded;
        inner = program->max_inner > inner ? program->max_inner : inner;
    }
    /* One more of each: a program without a matmul needs none, and calloc(0) may return NULL. */
    space->values = calloc(values + 1, sizeof *space->values);
    space->rounded = calloc(rounded + 1, sizeof *space->rounded);
    space->scales = calloc(rounded / GROUP + 1, sizeof *space->scales);
    space->tile = calloc(inner * TILE + 1, sizeof *space->tile);
    return space->values != NULL && space->rounded != NULL && space->scales != NULL &&
           space->tile != NULL;
}

void workspace_free(workspace *space) {
    free(space->values);
    free(space->rounded);
    free(space->scales);
    free(space->tile);
}

/* ---- matmul --------------------------------------------------------------------- */

/* Rounds GROUP numbers to int8 and gives their scale. */
static float round_group(const float *in, int16_t *out) {
    /* Floats without their sign bit are ordered like their bits; infinity and NaN come last. */
    uint32_t largest = 0;
    for (int i = 0; i < GROUP; i++) {
        uint32_t bits;
        memcpy(&bits, &in[i], sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    memset(out, 0, GROUP * sizeof *out);
    if (largest >= 0x7f800000) {
        return NAN; /* Zero times NaN is NaN, so all outputs of the row will be NaN. */
    }
    float size;
    memcpy(&size, &largest, sizeof size);
    float scale = size / 127;
    if (scale == 0) {
        return 0; /* The scale is too small for a float. */
    }
    for (int i = 0; i < GROUP; i++) {
        /* A subnormal scale is so coarse that a number divided by it may exceed 127. */
        float number = fminf(fmaxf(in[i] / scale, -127), 127);
        out[i] = (int16_t)(number + (number < 0 ? -0.5f : 0.5f));
    }
    return scale;
}

static FAST void round_inputs(const float *in, size_t n, workspace *space) {
    for (size_t i = 0; i < n; i += GROUP) {
        space->scales[i / GROUP] = round_group(in + i, space->rounded + i);
    }
}

/* The sums of a tile's rows times one row of inputs. The tile's group g has its scales at
 * scales + g * step; with a `step` of 0 all groups share them. The compiler vectorizes the inner
 * sum: products of 16 bits are added to sums of 32. */
static inline void tile_times_row(const int16_t *tile, const float *scales, size_t step,
                                  const int16_t *in, const float *in_scales, size_t groups,
                                  float *sums) {
    for (size_t g = 0; g < groups; g++) {
        int32_t products[TILE];
        for (int r = 0; r < TILE; r++) {
            int32_t sum = 0;
            for (int k = 0; k < GROUP; k++) {
                sum += tile[(g * TILE + r) * GROUP + k] * in[g * GROUP + k];
            }
            products[r] = sum;
        }
        for (int r = 0; r < TILE; r++) {
            sums[r] += (float)products[r] * (in_scales[g] * scales[g * step + r]);
        }
    }
}

/* TILE columns of the output, from column `first` on, without the bias. */
static FAST void matmul_tile(const tensor *weight, size_t first, workspace *space, float *out,
                             size_t rows) {
    static const float ONES[TILE] = {1, 1, 1, 1, 1, 1, 1, 1};
    size_t cols = weight->cols, groups = cols / GROUP;
    size_t width = weight->rows - first < TILE ? weight->rows - first : TILE;
    bool by_row = weight->format == FORMAT_I8_ROW;
    const float *group_scales = by_row ? ONES : weight->floats + first * groups;
    const float *row_scales = by_row ? weight->floats + first : ONES;
    for (size_t i = 0; i < TILE * cols; i++) {
        space->tile[i] = weight->numbers[first * cols + i];
    }
    for (size_t m = 0; m < rows; m++) {
        float sums[TILE] = {0};
        tile_times_row(space->tile, group_scales, by_row ? 0 : TILE, space->rounded + m * cols,
                       space->scales + m * groups, groups, sums);
        for (size_t r = 0; r < width; r++) {
            out[m * weight->rows + first + r] = sums[r] * row_scales[r];
        }
    }
}

static void add_bias(const float *bias, float *out, size_t rows, size_t cols) {
    for (size_t m = 0; m < rows; m++) {
        for (size_t n = 0; n < cols; n++) {
            out[m * cols + n] += bias[n];
        }
    }
}

static void matmul(const float *in, const tensor *weight, const float *bias, float *out,
                   size_t rows, workspace *space) {
    round_inputs(in, rows * weight->cols, space);
    for (size_t first = 0; first < weight->rows; first += TILE) {
        matmul_tile(weight, first, space, out, rows);
    }
    if (bias != NULL) {
        add_bias(bias, out, rows, weight->rows);
    }
}

/* ---- the other ops -------------------------------------------------------------- */

static void rmsnorm(const float *in, const float *weight, float *out, size_t n, size_t group,
                    float eps) {
    for (size_t start = 0; start < n; start += group) {
        double squares = 0;
        for (size_t i = 0; i < group; i++) {
            squares += (double)in[start + i] * in[start + i];
        }
        float factor = (float)(1 / sqrt(squares / (double)group + eps));
        for (size_t i = 0; i < group; i++) {
            out[start + i] = in[start + i] * factor * (weight != NULL ? weight[i] : 1);
        }
    }
}

static float silu(float x) {
    return x / (1 + expf(-x));
}

static float gelu(float x) {
    const float root_2_over_pi = 0.79788456f;
    return 0.5f * x * (1 + tanhf(root_2_over_pi * (x + 0.044715f * x * x * x)));
}

/* One number of an elementwise op; `b` is 0 if there is no second input. */
static float element(const node *node, float a, float b) {
    switch (node->op) {
    case ONDOL_NPU_ADD:
        return a + b;
    case ONDOL_NPU_SCALE:
        return a * node->factor;
    case ONDOL_NPU_SILU_MUL:
        return silu(a) * b;
    case ONDOL_NPU_GELU_MUL:
        return gelu(a) * b;
    default: /* SOFTCAP; graph.c lets no other op through. */
        return node->factor * tanhf(a / node->factor);
    }
}

/* The numbers of the node's input `i`; NULL if the node has fewer inputs. */
static float *input(const ondol_npu_program *program, const node *node, uint32_t i,
                    const workspace *space) {
    if (i >= node->n_in) {
        return NULL;
    }
    const tensor *tensor = &program->tensors[node->in[i]];
    return tensor->role == ONDOL_NPU_WEIGHT ? tensor->floats : space->values + tensor->place;
}

void node_run(const ondol_npu_program *program, const node *node, workspace *space) {
    const tensor *result = &program->tensors[node->out];
    const float *a = input(program, node, 0, space), *b = input(program, node, 1, space);
    float *out = space->values + result->place;
    size_t n = (size_t)program->rows * result->cols;
    switch (node->op) {
    case ONDOL_NPU_MATMUL:
        matmul(a, &program->tensors[node->in[1]], input(program, node, 2, space), out,
               program->rows, space);
        break;
    case ONDOL_NPU_RMSNORM:
        rmsnorm(a, b, out, n, node->group, node->eps);
        break;
    default:
        for (size_t i = 0; i < n; i++) {
            out[i] = element(node, a[i], b != NULL ? b[i] : 0);
        }
    }
}
