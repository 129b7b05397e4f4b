/* graph.c - reading and checking a graph, and which of its nodes the device takes. */
#include "softnpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading the host's structs ------------------------------------------------- */

static format format_of(const ondol_npu_quant *quant) {
    if (quant == NULL || quant->store == ONDOL_NPU_F32) {
        return FORMAT_F32;
    }
    bool grouped = quant->group == GROUP && quant->scale_type == ONDOL_NPU_F16;
    bool by_row = quant->group == ONDOL_NPU_GROUP_ROW && quant->scale_type == ONDOL_NPU_F32;
    if (quant->store == ONDOL_NPU_I4 && grouped) {
        return FORMAT_I4;
    }
    if (quant->store == ONDOL_NPU_I8 && grouped) {
        return FORMAT_I8;
    }
    if (quant->store == ONDOL_NPU_I8 && by_row) {
        return FORMAT_I8_ROW;
    }
    return FORMAT_OTHER;
}

static bool read_tensor(const ondol_npu_tensor *from, uint32_t id, tensor *to) {
    if (!VALID(from, ondol_npu_tensor, scales_size) || from->id != id) {
        return false;
    }
    if (from->quant != NULL && !VALID(from->quant, ondol_npu_quant, scale_type)) {
        return false;
    }
    to->role = from->role;
    to->rows = from->rows;
    to->cols = from->cols;
    to->format = format_of(from->quant);
    return true;
}

static bool read_node(const ondol_npu_node *from, node *to) {
    if (!VALID(from, ondol_npu_node, factor)) {
        return false;
    }
    to->op = from->op;
    to->n_in = from->n_in;
    memcpy(to->in, from->in, sizeof to->in);
    to->out = from->out;
    to->eps = from->eps;
    to->group = from->group;
    to->factor = from->factor;
    return true;
}

static ondol_npu_status read_all(const ondol_npu_graph *graph, const char *name,
                                 ondol_npu_program *program, ondol_npu_error *error) {
    for (uint32_t i = 0; i < graph->n_tensors; i++) {
        if (!read_tensor(graph->tensors[i], i, &program->tensors[i])) {
            return fail(error, ONDOL_NPU_E_INVALID,
                        "tensor %" PRIu32 " is missing, too small a struct, or has another id; "
                        "graph \"%s\"", i, name);
        }
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        if (!read_node(graph->nodes[i], &program->nodes[i])) {
            return fail(error, ONDOL_NPU_E_INVALID,
                        "node %" PRIu32 " is missing or too small a struct; graph \"%s\"", i, name);
        }
    }
    return graph_check(program, name, error);
}

ondol_npu_status graph_read(ondol_npu_device *device, const ondol_npu_graph *graph,
                            ondol_npu_program **out, ondol_npu_error *error) {
    if (device == NULL || !VALID(graph, ondol_npu_graph, nodes)) {
        return fail(error, ONDOL_NPU_E_INVALID, "no device or no graph, or one that is too small");
    }
    const char *name = graph->name != NULL ? graph->name : "";
    if (graph->tensors == NULL || graph->nodes == NULL || graph->n_tensors == 0 ||
        graph->n_nodes == 0) {
        return fail(error, ONDOL_NPU_E_INVALID, "the graph is empty; graph \"%s\"", name);
    }
    if (graph->n_tensors > MAX_TENSORS || graph->n_nodes > MAX_NODES) {
        return fail(error, ONDOL_NPU_E_UNSUPPORTED,
                    "more than %d tensors or %d nodes; graph \"%s\"", MAX_TENSORS, MAX_NODES, name);
    }
    ondol_npu_program *program =
        program_new(device, graph->rows, graph->n_tensors, graph->n_nodes);
    if (program == NULL) {
        return no_memory(error);
    }
    snprintf(program->name, sizeof program->name, "%s", name);
    ondol_npu_status status = read_all(graph, name, program, error);
    if (status != ONDOL_NPU_OK) {
        program_free(program);
        return status;
    }
    *out = program;
    return ONDOL_NPU_OK;
}

/* ---- checks of a graph ---------------------------------------------------------- */

/* Each of the functions below returns what is wrong, or NULL if nothing is. */

static const char *wrong_with_tensor(const ondol_npu_program *program, const tensor *tensor) {
    if (tensor->role > ONDOL_NPU_WEIGHT) {
        return "its role is unknown";
    }
    if (tensor->rows == 0 || tensor->cols == 0) {
        return "it is empty";
    }
    if (tensor->role != ONDOL_NPU_WEIGHT && tensor->rows != program->rows) {
        return "it is a value and has not as many rows as the graph";
    }
    return NULL;
}

static bool same_shape(const tensor *a, const tensor *b) {
    return a->rows == b->rows && a->cols == b->cols;
}

static bool is_vector(const tensor *tensor, uint32_t cols) {
    return tensor->rows == 1 && tensor->cols == cols;
}

static const char *wrong_with_matmul(const ondol_npu_program *program, const node *node) {
    const tensor *t = program->tensors;
    const tensor *in = &t[node->in[0]], *weight = &t[node->in[1]], *out = &t[node->out];
    if (in->cols != weight->cols) {
        return "its inputs have not the same number of columns";
    }
    if (out->cols != weight->rows) {
        return "its output has not as many columns as in1 has rows";
    }
    if (node->n_in == 3 && !is_vector(&t[node->in[2]], out->cols)) {
        return "in2 is not a vector of its output's columns";
    }
    return NULL;
}

static const char *wrong_with_rmsnorm(const ondol_npu_program *program, const node *node) {
    const tensor *t = program->tensors;
    if (!same_shape(&t[node->in[0]], &t[node->out])) {
        return "its input and output have not the same shape";
    }
    if (node->group == 0 || t[node->out].cols % node->group != 0) {
        return "its group does not divide its columns";
    }
    if (node->n_in == 2 && !is_vector(&t[node->in[1]], node->group)) {
        return "in1 is not a vector of its group";
    }
    return NULL;
}

static const char *wrong_with_elementwise(const ondol_npu_program *program, const node *node) {
    for (uint32_t i = 0; i < node->n_in; i++) {
        if (!same_shape(&program->tensors[node->in[i]], &program->tensors[node->out])) {
            return "its inputs and output have not the same shape";
        }
    }
    return NULL;
}

/* Whether an op can have `n` inputs. An op that is unknown here may be of a later version. */
static bool takes_inputs(ondol_npu_op op, uint32_t n) {
    switch (op) {
    case ONDOL_NPU_MATMUL:
        return n == 2 || n == 3;
    case ONDOL_NPU_RMSNORM:
        return n == 1 || n == 2;
    case ONDOL_NPU_ADD:
    case ONDOL_NPU_SILU_MUL:
    case ONDOL_NPU_GELU_MUL:
        return n == 2;
    case ONDOL_NPU_SCALE:
    case ONDOL_NPU_SOFTCAP:
        return n == 1;
    default:
        return n <= 4;
    }
}

/* `defined` has a flag for each tensor: whether it has a value where the node runs. */
static const char *wrong_with_wiring(const ondol_npu_program *program, const node *node,
                                     const bool *defined) {
    if (!takes_inputs(node->op, node->n_in)) {
        return "it has the wrong number of inputs";
    }
    for (uint32_t i = 0; i < node->n_in; i++) {
        if (node->in[i] >= program->n_tensors) {
            return "an input is out of range";
        }
        if (!defined[node->in[i]]) {
            return "an input is used before it is computed";
        }
    }
    if (node->out >= program->n_tensors) {
        return "its output is out of range";
    }
    if (defined[node->out]) {
        return "its output is an input, a weight, or computed before";
    }
    return NULL;
}

static const char *wrong_with_node(const ondol_npu_program *program, const node *node,
                                   const bool *defined) {
    const char *wrong = wrong_with_wiring(program, node, defined);
    if (wrong != NULL) {
        return wrong;
    }
    switch (node->op) {
    case ONDOL_NPU_MATMUL:
        return wrong_with_matmul(program, node);
    case ONDOL_NPU_RMSNORM:
        return wrong_with_rmsnorm(program, node);
    case ONDOL_NPU_ADD:
    case ONDOL_NPU_SCALE:
    case ONDOL_NPU_SILU_MUL:
    case ONDOL_NPU_GELU_MUL:
    case ONDOL_NPU_SOFTCAP:
        return wrong_with_elementwise(program, node);
    default:
        return NULL;
    }
}

ondol_npu_status graph_check(const ondol_npu_program *program, const char *name,
                             ondol_npu_error *error) {
    if (!rows_allowed(program->rows)) {
        return fail(error, ONDOL_NPU_E_INVALID,
                    "%" PRIu32 " rows are not in the device's list; graph \"%s\"", program->rows,
                    name);
    }
    bool defined[MAX_TENSORS];
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        const tensor *tensor = &program->tensors[i];
        const char *wrong = wrong_with_tensor(program, tensor);
        if (wrong != NULL) {
            return fail(error, ONDOL_NPU_E_INVALID, "tensor %" PRIu32 ": %s; graph \"%s\"", i,
                        wrong, name);
        }
        defined[i] = tensor->role == ONDOL_NPU_INPUT || tensor->role == ONDOL_NPU_WEIGHT;
    }
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        const char *wrong = wrong_with_node(program, &program->nodes[i], defined);
        if (wrong != NULL) {
            return fail(error, ONDOL_NPU_E_INVALID, "node %" PRIu32 ": %s; graph \"%s\"", i, wrong,
                        name);
        }
        defined[program->nodes[i].out] = true;
    }
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        if (program->tensors[i].role == ONDOL_NPU_OUTPUT && !defined[i]) {
            return fail(error, ONDOL_NPU_E_INVALID,
                        "tensor %" PRIu32 ": no node computes this output; graph \"%s\"", i, name);
        }
    }
    return ONDOL_NPU_OK;
}

/* ---- what the device takes ------------------------------------------------------ */

static bool is_f32_weight(const tensor *tensor) {
    return tensor->role == ONDOL_NPU_WEIGHT && tensor->format == FORMAT_F32;
}

static bool is_quantized_weight(const tensor *tensor) {
    return tensor->role == ONDOL_NPU_WEIGHT && tensor->format != FORMAT_F32 &&
           tensor->format != FORMAT_OTHER;
}

static bool matmul_supported(const ondol_npu_program *program, const node *node, char *reason,
                             size_t size) {
    const tensor *weight = &program->tensors[node->in[1]];
    if (weight->cols % GROUP != 0) {
        snprintf(reason, size, "K is %" PRIu32 ", no multiple of %d", weight->cols, GROUP);
    } else if (weight->cols > MAX_INNER) {
        snprintf(reason, size, "K is %" PRIu32 ", more than %d", weight->cols, MAX_INNER);
    } else if (!is_quantized_weight(weight)) {
        snprintf(reason, size, "in1 is not a weight in one of the device's formats");
    } else if (program->tensors[node->in[0]].role == ONDOL_NPU_WEIGHT) {
        snprintf(reason, size, "in0 is a weight, which a matmul takes as in1 only");
    } else if (node->n_in == 3 && !is_f32_weight(&program->tensors[node->in[2]])) {
        snprintf(reason, size, "in2 is not a weight of F32");
    } else {
        return true;
    }
    return false;
}

/* For ops other than a matmul: all operands must be values, except the vector of a norm. */
static bool operands_supported(const ondol_npu_program *program, const node *node, char *reason,
                               size_t size) {
    uint32_t n_values = node->op == ONDOL_NPU_RMSNORM ? 1 : node->n_in;
    for (uint32_t i = 0; i < n_values; i++) {
        if (program->tensors[node->in[i]].role == ONDOL_NPU_WEIGHT) {
            snprintf(reason, size, "in%" PRIu32 " is a weight, which this op does not take", i);
            return false;
        }
    }
    for (uint32_t i = n_values; i < node->n_in; i++) {
        if (!is_f32_weight(&program->tensors[node->in[i]])) {
            snprintf(reason, size, "in%" PRIu32 " is not a weight of F32", i);
            return false;
        }
    }
    return true;
}

static bool sides_supported(const ondol_npu_program *program, const node *node, char *reason,
                            size_t size) {
    uint32_t cols = program->tensors[node->out].cols;
    if (cols > MAX_SIDE) {
        snprintf(reason, size, "its output has %" PRIu32 " columns, more than %d", cols, MAX_SIDE);
    }
    return cols <= MAX_SIDE;
}

bool node_supported(const ondol_npu_program *program, const node *node, char *reason,
                    size_t size) {
    if (!sides_supported(program, node, reason, size)) {
        return false;
    }
    switch (node->op) {
    case ONDOL_NPU_MATMUL:
        return matmul_supported(program, node, reason, size);
    case ONDOL_NPU_RMSNORM:
    case ONDOL_NPU_ADD:
    case ONDOL_NPU_SCALE:
    case ONDOL_NPU_SILU_MUL:
    case ONDOL_NPU_GELU_MUL:
    case ONDOL_NPU_SOFTCAP:
        return operands_supported(program, node, reason, size);
    default:
        snprintf(reason, size, "op %" PRIu32 " is unknown", node->op);
        return false;
    }
}
