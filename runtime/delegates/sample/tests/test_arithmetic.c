/* test_arithmetic.c - ops against the oracle, and what is promised of rows and of NaN. */
#include "test.h"

#include <math.h>

static const uint32_t ROWS[] = {1, 16, 64, 128, 256};

/* ---- against the oracle ----------------------------------------------------------- */

/* What an input of row `row` holds: of a vector always the same. */
static const float *input_row(const rig *r, uint32_t id, size_t row) {
    const ondol_npu_tensor *t = &r->model->tensors[id];
    return t->role == ONDOL_NPU_WEIGHT ? t->data : r->values[id] + row * t->cols;
}

static void check_row(const rig *r, size_t row) {
    const model *m = r->model;
    const ondol_npu_node *node = &m->nodes[0];
    uint32_t cols = m->tensors[node->out].cols;
    double *wanted = malloc(cols * sizeof *wanted), *error = malloc(cols * sizeof *error);
    oracle_row(m, input_row(r, node->in[0], row), input_row(r, node->in[1], row), wanted, error);
    for (size_t i = 0; i < cols; i++) {
        double got = r->values[node->out][row * cols + i];
        if (!(fabs(got - wanted[i]) <= error[i])) {
            fprintf(stderr, "op %u, %u rows: row %zu, column %zu is %.9g, not %.9g\n", node->op,
                    m->graph.rows, row, i, got, wanted[i]);
            exit(1);
        }
    }
    free(wanted);
    free(error);
}

/* Runs a model of one node and checks its first, last and a middle row. */
static void check_model(model *m) {
    ondol_npu_device *device = open_device();
    rig r;
    rig_init(&r, m, device, compile(device, m));
    CHECK(rig_run(&r, 0) == ONDOL_NPU_OK);
    check_row(&r, 0);
    check_row(&r, m->graph.rows / 2);
    check_row(&r, m->graph.rows - 1);
    rig_free(&r);
    api->device_close(device);
    model_free(m);
}

static void check_matmul(uint32_t rows, const ondol_npu_quant *quant, uint32_t n, uint32_t k,
                         bool bias) {
    model m;
    model_init(&m, rows);
    uint32_t in = add_value(&m, ONDOL_NPU_INPUT, k), out = add_value(&m, ONDOL_NPU_OUTPUT, n);
    uint32_t weight = add_weight(&m, quant, n, k), vector = add_weight(&m, NULL, 1, n);
    add_node(&m, ONDOL_NPU_MATMUL, out, bias ? 3 : 2, in, weight, vector);
    check_model(&m);
}

static void matmuls(void) {
    static const uint32_t SHAPES[][2] = {{1, 32}, {7, 32},   {8, 64},
                                         {9, 96}, {33, 288}, {100, 1536}};
    const ondol_npu_quant *quants[] = {&I4, &I8, &I8_ROW};
    for (int q = 0; q < 3; q++) {
        for (int s = 0; s < 6; s++) {
            for (int r = 0; r < 5; r++) {
                check_matmul(ROWS[r], quants[q], SHAPES[s][0], SHAPES[s][1], s % 2 == r % 2);
            }
        }
        check_matmul(1, quants[q], 3, 65536, false);
    }
}

static void check_element(ondol_npu_op op, uint32_t n_in, uint32_t rows, uint32_t cols) {
    model m;
    model_init(&m, rows);
    uint32_t a = add_value(&m, ONDOL_NPU_INPUT, cols), b = add_value(&m, ONDOL_NPU_INPUT, cols);
    uint32_t out = add_value(&m, ONDOL_NPU_OUTPUT, cols);
    add_node(&m, op, out, n_in, a, b, 0);
    check_model(&m);
}

static void check_norm(uint32_t rows, uint32_t cols, uint32_t group, bool weighted) {
    model m;
    model_init(&m, rows);
    uint32_t in = add_value(&m, ONDOL_NPU_INPUT, cols), out = add_value(&m, ONDOL_NPU_OUTPUT, cols);
    uint32_t weight = add_weight(&m, NULL, 1, group);
    add_node(&m, ONDOL_NPU_RMSNORM, out, weighted ? 2 : 1, in, weight, 0)->group = group;
    check_model(&m);
}

static void other_ops(void) {
    static const uint32_t COLS[] = {1, 5, 100};
    for (int r = 0; r < 5; r++) {
        for (int c = 0; c < 3; c++) {
            check_element(ONDOL_NPU_ADD, 2, ROWS[r], COLS[c]);
            check_element(ONDOL_NPU_SCALE, 1, ROWS[r], COLS[c]);
            check_element(ONDOL_NPU_SILU_MUL, 2, ROWS[r], COLS[c]);
            check_element(ONDOL_NPU_GELU_MUL, 2, ROWS[r], COLS[c]);
            check_element(ONDOL_NPU_SOFTCAP, 1, ROWS[r], COLS[c]);
            check_norm(ROWS[r], COLS[c], COLS[c], c % 2 == 0);
        }
        check_norm(ROWS[r], 96, 32, true);
        check_norm(ROWS[r], 96, 3, false);
    }
}

/* ---- rows --------------------------------------------------------------------------- */

/* Weights of the second model are made the first one's. */
static void share_weights(model *to, const model *from) {
    for (uint32_t i = 0; i < to->graph.n_tensors; i++) {
        if (to->tensors[i].role == ONDOL_NPU_WEIGHT) {
            free((void *)to->tensors[i].data);
            free((void *)to->tensors[i].scales);
            to->tensors[i] = from->tensors[i];
        }
    }
}

/* Each row comes out the same bits whatever the number of rows, and in every run. */
static void rows_alone(void) {
    enum { COLS = 64 };
    model one, many;
    rig r1, r2;
    ondol_npu_device *device = open_device();
    block_init(&one, 1, COLS, 160);
    rig_init(&r1, &one, device, compile(device, &one));
    for (int i = 1; i < 5; i++) {
        block_init(&many, ROWS[i], COLS, 160);
        share_weights(&many, &one);
        rig_init(&r2, &many, device, compile(device, &many));
        for (int run = 0; run < 2; run++) {
            CHECK(rig_run(&r2, 0) == ONDOL_NPU_OK);
            for (size_t row = 0; row < ROWS[i]; row++) {
                memcpy(r1.values[0], r2.values[0] + row * COLS, COLS * sizeof(float));
                CHECK(rig_run(&r1, 0) == ONDOL_NPU_OK);
                CHECK(count_different(r1.values[1], r2.values[1] + row * COLS, COLS) == 0);
            }
        }
        rig_free(&r2);
    }
    rig_free(&r1);
    model_free(&one);
    api->device_close(device);
}

/* ---- numbers that are no ordinary ones -------------------------------------------------- */

static void special_inputs(void) {
    enum { K = 64, N = 9, R = 16 };
    const ondol_npu_quant *quants[] = {&I4, &I8, &I8_ROW};
    ondol_npu_device *device = open_device();
    for (int q = 0; q < 3; q++) {
        model m;
        rig r;
        model_init(&m, R);
        uint32_t in = add_value(&m, ONDOL_NPU_INPUT, K), out = add_value(&m, ONDOL_NPU_OUTPUT, N);
        uint32_t weight = add_weight(&m, quants[q], N, K);
        add_node(&m, ONDOL_NPU_MATMUL, out, 2, in, weight, 0);
        rig_init(&r, &m, device, compile(device, &m));
        float *x = r.values[in], *y = r.values[out];
        x[1 * K + 40] = NAN;
        x[2 * K + 3] = INFINITY;
        x[3 * K + 63] = -INFINITY;
        memset(x + 4 * K, 0, K * sizeof *x);
        for (int i = 0; i < K; i++) {
            x[5 * K + i] = 1e-45f; /* The smallest number: no scale is smaller. */
        }
        CHECK(rig_run(&r, 0) == ONDOL_NPU_OK);
        CHECK(count_nan(y + N, 3 * N) == 3 * N);
        CHECK(count_nan(y, R * N) == 3 * N);
        for (int i = 4 * N; i < 6 * N; i++) {
            CHECK(y[i] == 0);
        }
        check_row(&r, 0);
        check_row(&r, 6);
        rig_free(&r);
        model_free(&m);
    }
    api->device_close(device);
}

/* Numbers near the ends of what F32 holds. */
static void extreme_inputs(void) {
    enum { K = 64, N = 9 };
    ondol_npu_device *device = open_device();
    model m;
    rig r;
    model_init(&m, 16);
    uint32_t in = add_value(&m, ONDOL_NPU_INPUT, K), out = add_value(&m, ONDOL_NPU_OUTPUT, N);
    uint32_t weight = add_weight(&m, &I8_ROW, N, K);
    add_node(&m, ONDOL_NPU_MATMUL, out, 2, in, weight, 0);
    float *scales = (float *)m.tensors[weight].scales;
    scales[N - 1] = 1e30f; /* Makes ordinary numbers of subnormal inputs. */
    rig_init(&r, &m, device, compile(device, &m));
    for (int i = 0; i < K; i++) {
        r.values[in][i] *= 1e-37f;
        r.values[in][K + i] *= 1e4f;
        r.values[in][2 * K + i] *= 1e-39f;
        r.values[in][3 * K + i] *= 2.5e-43f; /* More than 127 of the smallest scale. */
    }
    CHECK(rig_run(&r, 0) == ONDOL_NPU_OK);
    check_row(&r, 0);
    check_row(&r, 1);
    check_row(&r, 2);
    check_row(&r, 3);
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
}

void test_arithmetic(void) {
    matmuls();
    other_ops();
    rows_alone();
    special_inputs();
    extreme_inputs();
}
