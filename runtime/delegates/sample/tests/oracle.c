/* oracle.c - what a node computes, in double precision, as ondol_npu.h defines it. Only the
 * rounding of a matmul's inputs is done in F32, as README.md says. */
#include "test.h"

#include <float.h>
#include <math.h>

static double half(uint16_t bits) {
    double sign = bits & 0x8000 ? -1 : 1;
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    return sign * (exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25));
}

static double weight_at(const ondol_npu_tensor *w, size_t n, size_t k) {
    size_t i = n * w->cols + k;
    if (w->quant == &I4) {
        int bits = ((const uint8_t *)w->data)[i / 2] >> (i % 2 * 4) & 15;
        return (bits ^ 8) - 8;
    }
    return ((const int8_t *)w->data)[i];
}

static double scale_at(const ondol_npu_tensor *w, size_t n, size_t k) {
    if (w->quant == &I8_ROW) {
        return ((const float *)w->scales)[n];
    }
    return half(((const uint16_t *)w->scales)[(n * w->cols + k) / 32]);
}

/* One input of a matmul after it was rounded with its group. */
static double rounded(const float *in, size_t k) {
    float largest = 0;
    for (size_t i = k / 32 * 32; i < k / 32 * 32 + 32; i++) {
        largest = fmaxf(largest, fabsf(in[i]));
    }
    float scale = largest / 127;
    if (scale == 0) {
        return 0;
    }
    return fmax(-127, fmin(127, round(in[k] / scale))) * (double)scale;
}

static void matmul(const model *m, const ondol_npu_node *node, const float *in, double *out,
                   double *error) {
    const ondol_npu_tensor *w = &m->tensors[node->in[1]];
    double *inputs = malloc(w->cols * sizeof *inputs);
    for (size_t k = 0; k < w->cols; k++) {
        inputs[k] = rounded(in, k);
    }
    for (size_t n = 0; n < w->rows; n++) {
        double bias = node->n_in == 3 ? ((const float *)m->tensors[node->in[2]].data)[n] : 0;
        double sum = bias, size = fabs(bias);
        for (size_t k = 0; k < w->cols; k++) {
            double product = inputs[k] * weight_at(w, n, k) * scale_at(w, n, k);
            sum += product;
            size += fabs(product);
        }
        out[n] = sum;
        error[n] = size * 1e-6 + FLT_MIN;
    }
    free(inputs);
}

static double norm_at(const ondol_npu_node *node, const float *in, const float *weight, size_t i) {
    double squares = 0;
    for (size_t j = 0; j < node->group; j++) {
        double number = in[i / node->group * node->group + j];
        squares += number * number;
    }
    double factor = node->n_in == 2 ? weight[i % node->group] : 1;
    return in[i] / sqrt(squares / node->group + node->eps) * factor;
}

static double element(const ondol_npu_node *node, double a, double b) {
    double factor = node->factor;
    switch (node->op) {
    case ONDOL_NPU_ADD:
        return a + b;
    case ONDOL_NPU_SCALE:
        return a * factor;
    case ONDOL_NPU_SILU_MUL:
        return a / (1 + exp(-a)) * b;
    case ONDOL_NPU_GELU_MUL:
        return 0.5 * a * (1 + tanh(sqrt(2 / acos(-1.0)) * (a + 0.044715 * a * a * a))) * b;
    default:
        return factor * tanh(a / factor);
    }
}

void oracle_row(const model *m, const float *in0, const float *in1, double *out, double *error) {
    const ondol_npu_node *node = &m->nodes[m->graph.n_nodes - 1];
    if (node->op == ONDOL_NPU_MATMUL) {
        matmul(m, node, in0, out, error);
        return;
    }
    for (size_t i = 0; i < m->tensors[node->out].cols; i++) {
        out[i] = node->op == ONDOL_NPU_RMSNORM
                     ? norm_at(node, in0, in1, i)
                     : element(node, in0[i], node->n_in == 2 ? in1[i] : 0);
        error[i] = fabs(out[i]) * 1e-6 + 1e-6;
    }
}
