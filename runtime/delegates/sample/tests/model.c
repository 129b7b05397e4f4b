/* model.c - graphs that are built node by node, with random weights. */
#include "test.h"

const ondol_npu_quant I4 = {HEADER(ondol_npu_quant), ONDOL_NPU_I4, 32, ONDOL_NPU_F16};
const ondol_npu_quant I8 = {HEADER(ondol_npu_quant), ONDOL_NPU_I8, 32, ONDOL_NPU_F16};
const ondol_npu_quant I8_ROW = {
    HEADER(ondol_npu_quant), ONDOL_NPU_I8, ONDOL_NPU_GROUP_ROW, ONDOL_NPU_F32};

/* Threads have each their own numbers, the same in every run. */
static _Thread_local uint64_t state = 88172645463325252u;

uint32_t random_u32(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

float random_float(void) {
    return (float)random_u32() / 2147483648.0f - 1;
}

void model_init(model *m, uint32_t rows) {
    memset(m, 0, sizeof *m);
    m->graph = (ondol_npu_graph){HEADER(ondol_npu_graph), "test", rows, 0, 0, m->tensor_list,
                                 m->node_list};
}

void model_free(model *m) {
    for (uint32_t i = 0; i < m->graph.n_tensors; i++) {
        free((void *)m->tensors[i].data);
        free((void *)m->tensors[i].scales);
    }
}

static ondol_npu_tensor *add_tensor(model *m, ondol_npu_role role, uint32_t rows, uint32_t cols) {
    uint32_t id = m->graph.n_tensors++;
    CHECK(id < MAX);
    m->tensor_list[id] = &m->tensors[id];
    m->tensors[id] = (ondol_npu_tensor){.hdr = HEADER(ondol_npu_tensor), .id = id, .role = role,
                                        .rows = rows, .cols = cols};
    return &m->tensors[id];
}

uint32_t add_value(model *m, ondol_npu_role role, uint32_t cols) {
    return add_tensor(m, role, m->graph.rows, cols)->id;
}

static float *random_floats(size_t n) {
    float *floats = malloc(n * sizeof *floats);
    for (size_t i = 0; i < n; i++) {
        floats[i] = random_float();
    }
    return floats;
}

/* From -127 to 127, or pairs of four bits. */
static uint8_t *random_bytes(size_t n, bool pairs) {
    uint8_t *bytes = malloc(n);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = pairs ? random_u32() & 255 : (uint8_t)(random_u32() % 255 - 127);
    }
    return bytes;
}

/* Of all finite sizes, subnormal ones among them, up to 2. */
static uint16_t *random_halves(size_t n) {
    uint16_t *halves = malloc(n * sizeof *halves);
    for (size_t i = 0; i < n; i++) {
        halves[i] = (uint16_t)(random_u32() % 0x4000 | (random_u32() & 0x8000));
    }
    return halves;
}

uint32_t add_weight(model *m, const ondol_npu_quant *quant, uint32_t rows, uint32_t cols) {
    ondol_npu_tensor *t = add_tensor(m, ONDOL_NPU_WEIGHT, rows, cols);
    size_t n = (size_t)rows * cols;
    t->quant = quant;
    if (quant == NULL) {
        t->data = random_floats(n);
        t->data_size = n * 4;
        return t->id;
    }
    t->data_size = quant == &I4 ? n / 2 : n;
    t->data = random_bytes(t->data_size, quant == &I4);
    t->scales_size = quant == &I8_ROW ? (size_t)rows * 4 : n / 32 * 2;
    t->scales = quant == &I8_ROW ? (void *)random_floats(rows) : (void *)random_halves(n / 32);
    return t->id;
}

ondol_npu_node *add_node(model *m, ondol_npu_op op, uint32_t out, uint32_t n_in, uint32_t in0,
                         uint32_t in1, uint32_t in2) {
    uint32_t i = m->graph.n_nodes++;
    CHECK(i < MAX);
    m->node_list[i] = &m->nodes[i];
    m->nodes[i] = (ondol_npu_node){HEADER(ondol_npu_node), op, n_in, {in0, in1, in2, 0}, out,
                                   1e-5f, m->tensors[out].cols, 1.5f};
    return &m->nodes[i];
}

void block_init(model *m, uint32_t rows, uint32_t cols, uint32_t inner) {
    model_init(m, rows);
    uint32_t in = add_value(m, ONDOL_NPU_INPUT, cols), out = add_value(m, ONDOL_NPU_OUTPUT, cols);
    uint32_t normed = add_value(m, ONDOL_NPU_INTERMEDIATE, cols);
    uint32_t gate = add_value(m, ONDOL_NPU_INTERMEDIATE, inner);
    uint32_t up = add_value(m, ONDOL_NPU_INTERMEDIATE, inner);
    uint32_t both = add_value(m, ONDOL_NPU_INTERMEDIATE, inner);
    uint32_t down = add_value(m, ONDOL_NPU_INTERMEDIATE, cols);
    uint32_t w_norm = add_weight(m, NULL, 1, cols), w_gate = add_weight(m, &I4, inner, cols);
    uint32_t w_up = add_weight(m, &I8, inner, cols), w_down = add_weight(m, &I8_ROW, cols, inner);
    add_node(m, ONDOL_NPU_RMSNORM, normed, 2, in, w_norm, 0);
    add_node(m, ONDOL_NPU_MATMUL, gate, 2, normed, w_gate, 0);
    add_node(m, ONDOL_NPU_MATMUL, up, 2, normed, w_up, 0);
    add_node(m, ONDOL_NPU_SILU_MUL, both, 2, gate, up, 0);
    add_node(m, ONDOL_NPU_MATMUL, down, 2, both, w_down, 0);
    add_node(m, ONDOL_NPU_ADD, out, 2, in, down, 0);
}
