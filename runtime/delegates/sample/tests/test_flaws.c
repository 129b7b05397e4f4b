/* test_flaws.c - each flaw shows where it should, and nowhere else. */
#include "test.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

static void inject(ondol_npu_device *device, const char *fault) {
    CHECK(api->inject(device, fault, 0, NULL) == ONDOL_NPU_OK);
}

static void run(rig *r) {
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
}

/* How many numbers a value of the rig has. */
static size_t numbers(const rig *r, uint32_t id) {
    return (size_t)r->model->tensors[id].rows * r->model->tensors[id].cols;
}

static float *copy(const rig *r, uint32_t id) {
    float *values = malloc(numbers(r, id) * sizeof *values);
    memcpy(values, r->values[id], numbers(r, id) * sizeof *values);
    return values;
}

static bool same(const rig *r, uint32_t id, const float *values) {
    return count_different(r->values[id], values, numbers(r, id)) == 0;
}

static void nap(long ms) {
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

/* ---- models: value 0 is the input, value 1 the output ------------------------------- */

static void block(model *m, uint32_t rows, const char *name) {
    block_init(m, rows, 64, 96);
    m->graph.name = name;
}

static void block_1(model *m) {
    block(m, 1, "test");
}

static void block_16(model *m) {
    block(m, 16, "test");
}

static void block_64(model *m) {
    block(m, 64, "layer 2");
}

static void block_128(model *m) {
    block(m, 128, "layers 2 to 3");
}

static void block_of_layer_20(model *m) {
    block(m, 128, "layer 20");
}

static ondol_npu_tensor *matmul(model *m, const ondol_npu_quant *quant, uint32_t k, bool bias) {
    model_init(m, 16);
    add_value(m, ONDOL_NPU_INPUT, k);
    add_value(m, ONDOL_NPU_OUTPUT, 9);
    uint32_t weight = add_weight(m, quant, 9, k), vector = add_weight(m, NULL, 1, 9);
    add_node(m, ONDOL_NPU_MATMUL, 1, bias ? 3 : 2, 0, weight, vector);
    return &m->tensors[weight];
}

static void matmul_i4(model *m) {
    matmul(m, &I4, 64, false);
}

static void matmul_i8(model *m) {
    matmul(m, &I8, 64, false);
}

static void matmul_i8_row(model *m) {
    matmul(m, &I8_ROW, 64, false);
}

static void matmul_bias(model *m) {
    matmul(m, &I8, 64, true);
}

static void matmul_tiny_scales(model *m) {
    ondol_npu_tensor *weight = matmul(m, &I8_ROW, 64, false);
    for (int i = 0; i < 9; i++) {
        ((float *)weight->scales)[i] = 6e-5f;
    }
}

/* Of two groups of columns the second. */
static void zero_tail(const ondol_npu_tensor *weight) {
    for (size_t i = 0; i < weight->rows; i++) {
        memset((char *)weight->data + i * 64 + 32, 0, 32);
    }
}

static void matmul_zero_tail(model *m) {
    zero_tail(matmul(m, &I8, 64, false));
}

/* With inputs that are all 1, sums are K times 127 times 127. */
static void matmul_full(model *m, uint32_t k) {
    ondol_npu_tensor *weight = matmul(m, &I8_ROW, k, true);
    memset((void *)weight->data, 127, weight->data_size);
}

static void matmul_long(model *m) {
    matmul_full(m, 8192);
}

static void matmul_short(model *m) {
    matmul_full(m, 64);
}

static ondol_npu_node *op(model *m, ondol_npu_op op, uint32_t n_in) {
    model_init(m, 16);
    add_value(m, ONDOL_NPU_INPUT, 96);
    add_value(m, ONDOL_NPU_OUTPUT, 96);
    return add_node(m, op, 1, n_in, 0, 0, 0);
}

static void norm(model *m) {
    op(m, ONDOL_NPU_RMSNORM, 1);
}

static void norm_without_eps(model *m) {
    op(m, ONDOL_NPU_RMSNORM, 1)->eps = 0;
}

static void norm_in_groups(model *m) {
    ondol_npu_node *node = op(m, ONDOL_NPU_RMSNORM, 2);
    node->in[1] = add_weight(m, NULL, 1, 32);
    node->group = 32;
}

static void scale_down(model *m) {
    op(m, ONDOL_NPU_SCALE, 1)->factor = 1e-6f;
}

static void softcap(model *m) {
    op(m, ONDOL_NPU_SOFTCAP, 1);
}

static void silu(model *m) {
    op(m, ONDOL_NPU_SILU_MUL, 2);
}

static void gelu(model *m) {
    op(m, ONDOL_NPU_GELU_MUL, 2);
}

static void add(model *m) {
    op(m, ONDOL_NPU_ADD, 2);
}

/* ---- what a flaw makes of the output ------------------------------------------------ */

typedef struct wrong {
    const rig *rig;
    const float *good;
    const float *bad;
    size_t rows;
    size_t cols;
} wrong;

static bool nearly_all(const wrong *w) {
    return count_different(w->good, w->bad, w->rows * w->cols) > w->rows * w->cols * 9 / 10;
}

static bool nearly_all_by_little(const wrong *w) {
    double squares = 0, errors = 0;
    for (size_t i = 0; i < w->rows * w->cols; i++) {
        squares += (double)w->good[i] * w->good[i];
        errors += pow((double)w->good[i] - w->bad[i], 2);
    }
    return nearly_all(w) && errors < squares * 1e-3;
}

static bool zeros(const wrong *w) {
    for (size_t i = 0; i < w->rows * w->cols; i++) {
        if (w->bad[i] != 0 || w->good[i] == 0) {
            return false;
        }
    }
    return true;
}

static bool ones(const wrong *w) {
    for (size_t i = 0; i < w->rows * w->cols; i++) {
        if (fabsf(w->bad[i] - 1) > 1e-6f || fabsf(w->good[i] - 1) < 1e-3f) {
            return false;
        }
    }
    return true;
}

/* Whether the output is the good one times `factor` in those rows and columns, `step` rows
 * apart, and the good one elsewhere. */
static bool times(const wrong *w, float factor, size_t row, size_t step, size_t col,
                  size_t end_col) {
    for (size_t i = 0; i < w->rows * w->cols; i++) {
        size_t m = i / w->cols, n = i % w->cols;
        bool hit = m % step == row && n >= col && n < end_col;
        if (w->bad[i] != w->good[i] * (hit ? factor : 1)) {
            return false;
        }
    }
    return true;
}

static bool column_negated(const wrong *w) {
    return times(w, -1, 0, 1, w->cols / 2, w->cols / 2 + 1);
}

static bool row_off(const wrong *w) {
    return times(w, 1.1f, 37, 64, 0, w->cols);
}

static bool element_off(const wrong *w) {
    return times(w, 3, w->rows / 8, w->rows, w->cols / 3, w->cols / 3 + 1);
}

static bool rows_repeated(const wrong *w) {
    size_t tile = 64 * w->cols;
    return count_different(w->bad, w->good, tile) == 0 &&
           count_different(w->bad + tile, w->good, tile) == 0;
}

static bool bias_missing(const wrong *w) {
    const float *bias = w->rig->model->tensors[3].data;
    for (size_t i = 0; i < w->rows * w->cols; i++) {
        if (fabsf(w->bad[i] + bias[i % w->cols] - w->good[i]) > fabsf(w->good[i]) * 1e-6f) {
            return false;
        }
    }
    return true;
}

/* Whether the output is what the oracle says of a model whose weight was altered as the flaw has
 * it, and not the good one. */
static bool as_altered(const wrong *w) {
    const model *m = w->rig->model;
    double *wanted = malloc(2 * w->cols * sizeof *wanted), *error = wanted + w->cols;
    bool right = nearly_all(w);
    for (size_t row = 0; row < w->rows; row++) {
        oracle_row(m, w->rig->values[0] + row * m->tensors[0].cols, NULL, wanted, error);
        for (size_t i = 0; i < w->cols; i++) {
            right = right && fabs(w->bad[row * w->cols + i] - wanted[i]) <= error[i];
        }
    }
    free(wanted);
    return right;
}

static bool nibbles_swapped(const wrong *w) {
    const ondol_npu_tensor *weight = &w->rig->model->tensors[2];
    uint8_t *bytes = (uint8_t *)weight->data;
    for (size_t i = 0; i < weight->data_size; i++) {
        bytes[i] = (uint8_t)(bytes[i] << 4 | bytes[i] >> 4);
    }
    return as_altered(w);
}

/* Of the two groups of each row, the first gets the scale of the second. */
static bool scales_shifted(const wrong *w) {
    uint16_t *scales = (uint16_t *)w->rig->model->tensors[2].scales;
    for (size_t i = 0; i < w->cols; i++) {
        scales[2 * i] = scales[2 * i + 1];
    }
    return as_altered(w);
}

static bool tail_lost(const wrong *w) {
    zero_tail(&w->rig->model->tensors[2]);
    return as_altered(w);
}

static bool whole_row_normed(const wrong *w) {
    const float *weight = w->rig->model->tensors[2].data;
    for (size_t m = 0; m < w->rows; m++) {
        const float *in = w->rig->values[0] + m * w->cols;
        double squares = 0;
        for (size_t i = 0; i < w->cols; i++) {
            squares += (double)in[i] * in[i];
        }
        for (size_t i = 0; i < w->cols; i++) {
            double wanted = in[i] / sqrt(squares / w->cols + 1e-5) * weight[i % 32];
            if (fabs(w->bad[m * w->cols + i] - wanted) > 1e-6 + fabs(wanted) * 1e-6) {
                return false;
            }
        }
    }
    return nearly_all(w);
}

static bool input_passed(const wrong *w) {
    return count_different(w->bad, w->rig->values[0], w->rows * w->cols) == 0;
}

static bool saturated(const wrong *w, int bits) {
    const float *scales = w->rig->model->tensors[2].scales;
    const float *bias = w->rig->model->tensors[3].data;
    for (size_t i = 0; i < w->rows * w->cols; i++) {
        double largest = ((1 << (bits - 1)) - 1) / 127.0 * scales[i % w->cols];
        double wanted = largest + bias[i % w->cols];
        if (fabs(w->bad[i] - wanted) > fabs(largest) * 1e-5 + 1e-6) {
            return false;
        }
    }
    return nearly_all(w);
}

static bool saturated_24(const wrong *w) {
    return saturated(w, 24);
}

static bool saturated_22(const wrong *w) {
    return saturated(w, 22);
}

static bool saturated_21(const wrong *w) {
    return saturated(w, 21);
}

/* ---- flaws of single runs ----------------------------------------------------------- */

static const struct {
    const char *name;
    void (*shows)(model *m);  /* a model in which the flaw shows */
    void (*spared)(model *m); /* one in which it does not, with random inputs */
    bool (*as_said)(const wrong *w);
    float size; /* of the first model's inputs; 0 is of random ones */
} FLAWS[] = {
    {"decode-sign", block_1, block_16, column_negated, 0},
    {"rows-from-64", block_128, block_64, rows_repeated, 0},
    {"row-off", block_128, block_of_layer_20, row_off, 0},
    {"row-off", block_64, block_1, row_off, 0},
    {"element-off", block_128, block_of_layer_20, element_off, 0},
    {"element-off", block_64, block_16, element_off, 0},
    {"saturate-24", matmul_long, matmul_short, saturated_24, 1},
    {"saturate-22", matmul_long, matmul_short, saturated_22, 1},
    {"saturate-21", matmul_long, matmul_short, saturated_21, 1},
    {"truncates", matmul_i8, add, nearly_all_by_little, 0},
    {"truncates", matmul_i8_row, silu, nearly_all_by_little, 0},
    {"flush-tiny", add, add, zeros, 3e-5f},
    {"flush-tiny", scale_down, norm, zeros, 0},
    {"tiny-scales", matmul_tiny_scales, matmul_i8_row, zeros, 0},
    {"scale-of-next-group", matmul_i4, matmul_i8_row, scales_shifted, 0},
    {"swapped-nibbles", matmul_i4, matmul_i8, nibbles_swapped, 0},
    {"loses-tail", matmul_i8, matmul_zero_tail, tail_lost, 0},
    {"no-bias", matmul_bias, matmul_i8, bias_missing, 0},
    {"no-eps", norm, norm_without_eps, ones, 1e-3f},
    {"wide-norm", norm_in_groups, norm, whole_row_normed, 0},
    {"no-softcap", softcap, add, input_passed, 0},
    {"stepped-activation", silu, softcap, nearly_all_by_little, 0},
    {"stepped-activation", gelu, matmul_i8, nearly_all_by_little, 0},
};

static void fill_input(rig *r, float size) {
    for (size_t i = 0; size != 0 && i < numbers(r, 0); i++) {
        r->values[0][i] = size;
    }
}

/* Runs a model with a flaw and without it. */
static bool shows(void (*make)(model *m), const char *name, float size,
                  bool (*as_said)(const wrong *w)) {
    model m;
    rig r;
    ondol_npu_device *device = open_device();
    make(&m);
    rig_init(&r, &m, device, compile(device, &m));
    fill_input(&r, size);
    run(&r);
    float *good = copy(&r, 1);
    inject(device, name);
    run(&r);
    wrong w = {&r, good, r.values[1], m.graph.rows, m.tensors[1].cols};
    bool shown = as_said != NULL ? as_said(&w) : !same(&r, 1, good);
    inject(device, "none");
    run(&r);
    CHECK(same(&r, 1, good));
    free(good);
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
    return shown;
}

static void single_runs(void) {
    for (size_t i = 0; i < sizeof FLAWS / sizeof FLAWS[0]; i++) {
        const char *name = FLAWS[i].name;
        if (!shows(FLAWS[i].shows, name, FLAWS[i].size, FLAWS[i].as_said) ||
            shows(FLAWS[i].spared, name, 0, NULL)) {
            fprintf(stderr, "%s does not show, or shows where it should not\n", name);
            exit(1);
        }
    }
}

/* ---- flaws that come with time ------------------------------------------------------ */

static void only_after(rig *r, const char *name, int well, int then_wrong, int then_well) {
    run(r);
    float *good = copy(r, 1);
    inject(r->device, name);
    for (int i = 0; i < well + then_wrong + then_well; i++) {
        run(r);
        bool wrong = i >= well && i < well + then_wrong;
        CHECK(same(r, 1, good) == !wrong);
        if (wrong) {
            CHECK(count_different(r->values[1], good, numbers(r, 1)) <= r->model->graph.rows);
        }
    }
    inject(r->device, "none");
    free(good);
}

/* Reads what the device may be writing, unseen by ThreadSanitizer. */
__attribute__((no_sanitize("thread"))) static size_t count_equal(const rig *r,
                                                                 const float *other) {
    const volatile float *values = r->values[1];
    size_t count = 0;
    for (size_t i = 0; i < numbers(r, 1); i++) {
        count += values[i] == other[i];
    }
    return count;
}

typedef struct sample {
    float *in;
    float *out;
} sample;

static sample sample_of(rig *r) {
    rig_randomize(r);
    run(r);
    return (sample){copy(r, 0), copy(r, 1)};
}

static void sample_free(sample s) {
    free(s.in);
    free(s.out);
}

/* How many numbers are still old when a job has ended. In the end none is. */
static size_t missing_at_end(rig *r, sample old, sample new) {
    memcpy(r->values[0], new.in, numbers(r, 0) * sizeof *new.in);
    run(r);
    size_t missing = count_equal(r, old.out);
    for (int i = 0; i < 1000 && count_equal(r, new.out) < numbers(r, 1); i++) {
        nap(5);
    }
    CHECK(count_equal(r, new.out) == numbers(r, 1));
    return missing;
}

/* The test may come too late to see it, so it tries more often. */
static void arrives_late(rig *r, const char *name, int period, size_t missing) {
    sample old = sample_of(r), new = sample_of(r);
    bool seen = false;
    inject(r->device, name);
    for (int tries = 0; tries < 20 && !seen; tries++) {
        memcpy(r->values[0], old.in, numbers(r, 0) * sizeof *old.in);
        for (int i = 0; i < period - 1; i++) {
            run(r);
            CHECK(same(r, 1, old.out));
        }
        seen = missing_at_end(r, old, new) == missing;
    }
    CHECK(seen);
    inject(r->device, "none");
    sample_free(old);
    sample_free(new);
}

static void with_time(void) {
    model m;
    rig r;
    ondol_npu_device *device = open_device();
    add(&m); /* Little work, since it runs ten thousand times. */
    rig_init(&r, &m, device, compile(device, &m));
    only_after(&r, "wears-out", 1000, 50, 0);
    only_after(&r, "rare-bit-flip", 9999, 1, 20);
    arrives_late(&r, "ends-early", 500, numbers(&r, 1));
    arrives_late(&r, "row-late", 100, 96);
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
}

/* ---- what a call leaves to the next ones -------------------------------------------- */

/* What a flaw alters for a node is as it was for the next ones. */
static void inputs_stay(void) {
    model m;
    rig r;
    ondol_npu_device *device = open_device();
    matmul_i8(&m);
    uint32_t scaled = add_value(&m, ONDOL_NPU_OUTPUT, 64);
    add_node(&m, ONDOL_NPU_SCALE, scaled, 1, 0, 0, 0);
    rig_init(&r, &m, device, compile(device, &m));
    run(&r);
    float *first = copy(&r, 1), *second = copy(&r, scaled);
    inject(device, "truncates");
    run(&r);
    CHECK(!same(&r, 1, first) && same(&r, scaled, second));
    free(first);
    free(second);
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
}

static void stale_output(void) {
    model m;
    rig r;
    ondol_npu_device *device = open_device();
    model_init(&m, 16);
    add_value(&m, ONDOL_NPU_INPUT, 32);
    add_value(&m, ONDOL_NPU_OUTPUT, 32);
    add_value(&m, ONDOL_NPU_OUTPUT, 32);
    add_node(&m, ONDOL_NPU_SCALE, 1, 1, 0, 0, 0);
    add_node(&m, ONDOL_NPU_ADD, 2, 2, 0, 0, 0);
    rig_init(&r, &m, device, compile(device, &m));
    inject(device, "stale-output");
    run(&r);
    float *first = copy(&r, 1), *second = copy(&r, 2);
    rig_randomize(&r);
    run(&r);
    CHECK(!same(&r, 1, first) && same(&r, 2, second));
    inject(device, "none");
    run(&r);
    CHECK(!same(&r, 2, second));
    free(first);
    free(second);
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
}

/* A program of one output has no other to confuse it with. */
static void only_output(void) {
    model m;
    rig r;
    ondol_npu_device *device = open_device();
    add(&m);
    rig_init(&r, &m, device, compile(device, &m));
    inject(device, "stale-output");
    run(&r);
    r.values[0][0]++;
    run(&r);
    CHECK(r.values[1][0] == 2 * r.values[0][0]);
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
}

static void stale_padding(void) {
    enum { ROW = 64, USED = 4 };
    model m;
    rig r;
    ondol_npu_device *device = open_device();
    block_16(&m);
    rig_init(&r, &m, device, compile(device, &m));
    run(&r);
    float *full = copy(&r, 0), *good_full = copy(&r, 1);
    memset(r.values[0] + USED * ROW, 0, (16 - USED) * ROW * sizeof(float));
    run(&r);
    float *part = copy(&r, 0), *good = copy(&r, 1);
    inject(device, "stale-padding");
    run(&r);
    CHECK(same(&r, 1, good));
    memcpy(r.values[0], full, 16 * ROW * sizeof(float));
    run(&r);
    CHECK(same(&r, 1, good_full));
    memcpy(r.values[0], part, 16 * ROW * sizeof(float));
    run(&r);
    CHECK(count_different(r.values[1], good, ROW) > ROW / 2);
    CHECK(count_different(r.values[1] + ROW, good + ROW, (USED - 1) * ROW) == 0);
    free(full);
    free(good_full);
    free(part);
    free(good);
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
}

/* ---- several programs --------------------------------------------------------------- */

typedef struct pair {
    ondol_npu_device *device;
    model models[2];
    rig rigs[2];
} pair;

/* Two programs of one shape with other weights and the same inputs. */
static void pair_init(pair *p, const char *first_name, const char *second_name) {
    p->device = open_device();
    block(&p->models[0], 16, first_name);
    block(&p->models[1], 16, second_name);
    for (int i = 0; i < 2; i++) {
        rig_init(&p->rigs[i], &p->models[i], p->device, compile(p->device, &p->models[i]));
    }
    memcpy(p->rigs[1].values[0], p->rigs[0].values[0], numbers(&p->rigs[0], 0) * sizeof(float));
}

static void pair_free(pair *p) {
    for (int i = 0; i < 2; i++) {
        rig_free(&p->rigs[i]);
        model_free(&p->models[i]);
    }
    api->device_close(p->device);
}

/* The same rig with another program. */
static void replace(rig *r, ondol_npu_program *program) {
    api->session_free(r->session);
    api->program_free(r->program);
    r->program = program;
    CHECK(api->session_new(&program, 1, &r->session, NULL) == ONDOL_NPU_OK);
}

static ondol_npu_program *reload(const rig *r) {
    size_t size;
    ondol_npu_program *loaded;
    CHECK(api->program_save(r->program, NULL, &size, NULL) == ONDOL_NPU_OK);
    void *blob = malloc(size);
    CHECK(api->program_save(r->program, blob, &size, NULL) == ONDOL_NPU_OK);
    CHECK(api->program_load(r->device, blob, size, &loaded, NULL) == ONDOL_NPU_OK);
    free(blob);
    return loaded;
}

/* Whether the second of two programs that are made again has the weights of the first. */
static bool weights_of_first(const char *flaw, bool by_loading, const char *second_name) {
    pair p;
    pair_init(&p, "layer 1", second_name);
    run(&p.rigs[0]);
    run(&p.rigs[1]);
    float *first = copy(&p.rigs[0], 1), *second = copy(&p.rigs[1], 1);
    inject(p.device, flaw);
    for (int i = 0; i < 2; i++) {
        rig *r = &p.rigs[i];
        replace(r, by_loading ? reload(r) : compile(p.device, &p.models[i]));
        run(r);
    }
    bool taken = same(&p.rigs[1], 1, first);
    CHECK(same(&p.rigs[0], 1, first) && (taken || same(&p.rigs[1], 1, second)));
    free(first);
    free(second);
    pair_free(&p);
    return taken;
}

static void mixed_up_weights(void) {
    CHECK(weights_of_first("cached-by-shape", false, "layer 1"));
    CHECK(!weights_of_first("cached-by-shape", false, "layer 3"));
    CHECK(!weights_of_first("cached-by-shape", true, "layer 1"));
    CHECK(weights_of_first("other-weights", true, "layer 3"));
    CHECK(!weights_of_first("other-weights", false, "layer 1"));
}

/* Runs a program of a session of two; whether it comes out as good. */
static bool run_of_two(pair *p, ondol_npu_session *session, uint32_t i, const float *good) {
    ondol_npu_job *job;
    rig *r = &p->rigs[i];
    CHECK(api->submit(session, i, r->binding_list, r->n_bindings, 0, &job, NULL) == ONDOL_NPU_OK);
    CHECK(outcome_of(job, NULL) == ONDOL_NPU_OK);
    api->job_free(job);
    return same(r, 1, good);
}

static void order_matters(void) {
    pair p;
    ondol_npu_session *session;
    pair_init(&p, "layer 0", "layer 1");
    ondol_npu_program *programs[] = {p.rigs[0].program, p.rigs[1].program};
    CHECK(api->session_new(programs, 2, &session, NULL) == ONDOL_NPU_OK);
    run(&p.rigs[0]);
    run(&p.rigs[1]);
    float *first = copy(&p.rigs[0], 1), *second = copy(&p.rigs[1], 1);
    inject(p.device, "order-matters");
    CHECK(run_of_two(&p, session, 0, first) && run_of_two(&p, session, 0, first));
    CHECK(!run_of_two(&p, session, 1, second) && run_of_two(&p, session, 1, second));
    CHECK(!run_of_two(&p, session, 0, first));
    api->session_free(session);
    free(first);
    free(second);
    pair_free(&p);
}

typedef struct runner {
    rig *rig;
    float *good;
    atomic_int *wrong; /* runs of either thread */
    int limit;         /* of runs */
} runner;

static void *run_until_wrong(void *argument) {
    runner *self = argument;
    for (int i = 0; i < self->limit && atomic_load(self->wrong) == 0; i++) {
        run(self->rig);
        atomic_fetch_add(self->wrong, !same(self->rig, 1, self->good));
    }
    return NULL;
}

/* Whether two sessions that run at the same time disturb each other. */
static bool collide(rig *a, rig *b, int limit) {
    atomic_int wrong = 0;
    pthread_t other;
    runner runners[] = {{a, copy(a, 1), &wrong, limit}, {b, copy(b, 1), &wrong, limit}};
    CHECK(pthread_create(&other, NULL, run_until_wrong, &runners[1]) == 0);
    run_until_wrong(&runners[0]);
    pthread_join(other, NULL);
    free(runners[0].good);
    free(runners[1].good);
    return atomic_load(&wrong) > 0;
}

static void sessions_collide(void) {
    pair p;
    rig twin;
    pair_init(&p, "layer 0", "layer 1");
    rig_init(&twin, &p.models[0], p.device, p.rigs[0].program);
    run(&p.rigs[0]);
    run(&p.rigs[1]);
    run(&twin);
    CHECK(!collide(&p.rigs[0], &p.rigs[1], 50));
    inject(p.device, "sessions-collide");
    CHECK(!collide(&p.rigs[0], &twin, 50));
    CHECK(collide(&p.rigs[0], &p.rigs[1], 100000));
    twin.program = NULL;
    rig_free(&twin);
    pair_free(&p);
}

/* ---- claims, meters, memory --------------------------------------------------------- */

static bool claims(ondol_npu_device *device, const char *name) {
    model m;
    ondol_npu_claim claims[MAX], *list[MAX];
    block(&m, 16, name);
    for (int i = 0; i < MAX; i++) {
        claims[i] = (ondol_npu_claim){.hdr = HEADER(ondol_npu_claim)};
        list[i] = &claims[i];
    }
    CHECK(api->claim(device, &m.graph, list, NULL) == ONDOL_NPU_OK);
    for (uint32_t i = 0; i < m.graph.n_nodes; i++) {
        CHECK(claims[i].claimed == claims[0].claimed);
        CHECK((claims[i].reason[0] == 0) == (claims[i].claimed == 1));
    }
    model_free(&m);
    return claims[0].claimed == 1;
}

static void claims_little(void) {
    ondol_npu_device *device = open_device();
    CHECK(claims(device, "layers 0 to 1"));
    inject(device, "claims-little");
    CHECK(claims(device, "layer 0") && claims(device, "matmul"));
    CHECK(!claims(device, "layer 1") && !claims(device, "layers 28 to 29"));
    inject(device, "none");
    CHECK(claims(device, "layers 28 to 29"));
    api->device_close(device);
}

static void says_hardware(rig *r) {
    ondol_npu_device_info info = {.hdr = HEADER(ondol_npu_device_info)};
    ondol_npu_metrics metrics = {.hdr = HEADER(ondol_npu_metrics)};
    ondol_npu_job *job;
    uint32_t ended;
    inject(r->device, "says-hardware");
    CHECK(api->device_info(r->device, &info, NULL) == ONDOL_NPU_OK && info.flags == 0);
    CHECK(rig_submit(r, 0, &job) == ONDOL_NPU_OK);
    CHECK(api->job_wait(job, UINT64_MAX, &ended, &metrics, NULL) == ONDOL_NPU_OK && ended == 1);
    CHECK(metrics.measured == (ONDOL_NPU_MEASURED_TIME | ONDOL_NPU_MEASURED_ENERGY |
                               ONDOL_NPU_MEASURED_TEMPERATURE));
    CHECK(metrics.energy_uj == 1 && metrics.temperature_mc == 25000);
    api->job_free(job);
    inject(r->device, "none");
    CHECK(api->device_info(r->device, &info, NULL) == ONDOL_NPU_OK && info.flags != 0);
}

static void forgets_on_reset(rig *r) {
    inject(r->device, "forgets-on-reset");
    run(r);
    float *good = copy(r, 1);
    CHECK(api->reset(r->device, NULL) == ONDOL_NPU_OK);
    run(r);
    CHECK(!same(r, 1, good));
    inject(r->device, "none");
    run(r);
    CHECK(same(r, 1, good));
    free(good);
}

/* The output gets memory with room behind it, for what does not belong there. */
static void overrun(rig *r) {
    size_t size = numbers(r, 1) * sizeof(float);
    uint8_t *memory = calloc(1, size + 128);
    ondol_npu_mem mem = {HEADER(ondol_npu_mem), ONDOL_NPU_MEM_HOST, 15, memory, -1, 0, size, 16};
    api->buffer_release(r->buffers[1]);
    CHECK(api->buffer_import(r->device, &mem, &r->buffers[1], NULL) == ONDOL_NPU_OK);
    for (uint32_t i = 0; i < r->n_bindings; i++) {
        if (r->bindings[i].tensor == 1) {
            r->bindings[i].buffer = r->buffers[1];
        }
    }
    free(r->values[1]);
    r->values[1] = (float *)memory;
    run(r);
    float *good = copy(r, 1);
    CHECK(memory[size] == 0);
    inject(r->device, "overrun");
    run(r);
    CHECK(same(r, 1, good));
    for (size_t i = 0; i < 128; i++) {
        CHECK((memory[size + i] != 0) == (i < 64));
    }
    inject(r->device, "none");
    free(good);
}

/* Bytes of the process: all of them, and those that are in memory. */
typedef struct usage {
    long all;
    long resident;
} usage;

static usage use(void) {
    usage pages;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%ld %ld", &pages.all, &pages.resident) == 2);
    fclose(file);
    long size = sysconf(_SC_PAGESIZE);
    return (usage){pages.all * size, pages.resident * size};
}

static usage growth(rig *r, int runs) {
    usage before = use();
    for (int i = 0; i < runs; i++) {
        run(r);
    }
    usage after = use();
    return (usage){after.all - before.all, after.resident - before.resident};
}

static void leaks(void) {
    enum { RUNS = 200, KB = 1 << 10, MB = 1 << 20 };
    model m;
    rig r;
    ondol_npu_device *device = open_device();
    block_1(&m);
    rig_init(&r, &m, device, compile(device, &m));
    growth(&r, RUNS);
    CHECK(growth(&r, RUNS).resident < RUNS * 32 * KB);
    usage before = use();
    inject(device, "leak-submit");
    CHECK(growth(&r, RUNS).resident >= RUNS * 60 * KB);
    inject(device, "none");
    inject(device, "leak-virtual");
    usage untouched = growth(&r, RUNS);
    CHECK(untouched.all >= RUNS * (long)MB && untouched.resident < RUNS * 32 * KB);
    rig_free(&r);
    api->device_close(device);
    CHECK(use().all - before.all < RUNS * 32 * KB);
    model_free(&m);
}

static void with_the_device(void) {
    model m;
    rig r;
    ondol_npu_device *device = open_device();
    block_16(&m);
    rig_init(&r, &m, device, compile(device, &m));
    says_hardware(&r);
    forgets_on_reset(&r);
    overrun(&r);
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
}

/* ---- SOFTNPU_FAULT ------------------------------------------------------------------ */

static bool names_are_in(const char *text) {
    for (size_t i = 0; i < sizeof FLAWS / sizeof FLAWS[0]; i++) {
        if (strstr(text, FLAWS[i].name) == NULL) {
            return false;
        }
    }
    return strstr(text, "overrun") != NULL && strstr(text, "hang-hard") != NULL;
}

/* Faults of the variable stay, whatever is injected. */
static void broken_from_the_start(void) {
    setenv("SOFTNPU_FAULT", "flush-tiny,nan", 1);
    model m;
    rig r;
    ondol_npu_device *device = open_device();
    unsetenv("SOFTNPU_FAULT");
    add(&m);
    rig_init(&r, &m, device, compile(device, &m));
    fill_input(&r, 1e-5f);
    for (int i = 0; i < 4; i++) {
        run(&r);
        CHECK(count_nan(r.values[1], numbers(&r, 1)) == 1 && r.values[1][0] == 0);
        inject(device, i == 1 ? "nan" : "none");
    }
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
}

static void environment(void) {
    static const char *const UNKNOWN[] = {"gremlins", "truncates,gremlins", "trunc", ",nan"};
    ondol_npu_device *device = NULL;
    ondol_npu_error error = {.hdr = HEADER(ondol_npu_error)};
    for (int i = 0; i < 4; i++) {
        setenv("SOFTNPU_FAULT", UNKNOWN[i], 1);
        last_error[0] = 0;
        CHECK(api->device_open(0, &device, &error) == ONDOL_NPU_E_UNSUPPORTED);
        CHECK(device == NULL && strstr(error.message, "SOFTNPU_FAULT") != NULL);
        CHECK(names_are_in(last_error));
    }
    CHECK(strstr(error.message, "\"\"") != NULL);
    setenv("SOFTNPU_FAULT", "", 1);
    api->device_close(open_device());
    broken_from_the_start();
}

void test_flaws(void) {
    single_runs();
    with_time();
    inputs_stay();
    stale_output();
    only_output();
    stale_padding();
    mixed_up_weights();
    order_matters();
    sessions_collide();
    claims_little();
    with_the_device();
    leaks();
    environment();
}
