/* program.c - compiling: taking a graph's weights, and planning where its values go. */
#include "softnpu.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VALUE_FLOATS ((uint64_t)1 << 29) /* 2 GiB of values in a program */

ondol_npu_program *program_new(ondol_npu_device *device, uint32_t rows, uint32_t n_tensors,
                               uint32_t n_nodes) {
    ondol_npu_program *program = calloc(1, sizeof *program);
    if (program == NULL) {
        return NULL;
    }
    program->device = device;
    program->rows = rows;
    program->n_tensors = n_tensors;
    program->n_nodes = n_nodes;
    program->tensors = calloc(n_tensors, sizeof *program->tensors);
    program->nodes = calloc(n_nodes, sizeof *program->nodes);
    if (program->tensors == NULL || program->nodes == NULL) {
        program_free(program);
        return NULL;
    }
    return program;
}

void program_free(ondol_npu_program *program) {
    if (program == NULL) {
        return;
    }
    for (uint32_t i = 0; program->tensors != NULL && i < program->n_tensors; i++) {
        free(program->tensors[i].numbers);
        free(program->tensors[i].floats);
    }
    atomic_fetch_sub(&program->device->mem_used, program->weight_bytes);
    free(program->tensors);
    free(program->nodes);
    free(program);
}

ondol_npu_status program_take_memory(ondol_npu_program *program, ondol_npu_error *error) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        if (program->tensors[i].role == ONDOL_NPU_WEIGHT) {
            bytes += weight_bytes(&program->tensors[i]);
        }
    }
    if (!memory_take(program->device, bytes)) {
        return fail(error, ONDOL_NPU_E_NOMEM,
                    "the device holds %" PRIu64 " bytes of weights; %" PRIu64
                    " are in use, and the program has %" PRIu64,
                    program->device->mem_limit, atomic_load(&program->device->mem_used), bytes);
    }
    program->weight_bytes = bytes;
    return ONDOL_NPU_OK;
}

size_t value_bytes(const tensor *value) {
    return (size_t)value->rows * value->cols * sizeof(float);
}

/* ---- planning --------------------------------------------------------------------------
 *
 * Step 0 fills in the inputs, step i + 1 is node i, and the last step reads the outputs. Values
 * that are never in use in the same step may share memory. */

static void find_uses(ondol_npu_program *program) {
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        const node *node = &program->nodes[i];
        program->tensors[node->out].first = program->tensors[node->out].last = i + 1;
        for (uint32_t j = 0; j < node->n_in; j++) {
            program->tensors[node->in[j]].last = i + 1;
        }
    }
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        if (program->tensors[i].role == ONDOL_NPU_OUTPUT) {
            program->tensors[i].last = program->n_nodes + 1;
        }
    }
}

/* Rounded up, so that each value begins where a cache line does. */
static uint64_t size_of_value(const tensor *value) {
    return ((uint64_t)value->rows * value->cols + 15) / 16 * 16;
}

static bool used_together(const tensor *a, const tensor *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* The first gap between those already placed, which are in the order of their places. */
static uint64_t find_place(const tensor *value, tensor *const *placed, uint32_t n) {
    uint64_t place = 0, size = size_of_value(value);
    for (uint32_t i = 0; i < n; i++) {
        if (!used_together(value, placed[i])) {
            continue;
        }
        if (place + size <= placed[i]->place) {
            break;
        }
        uint64_t end = placed[i]->place + size_of_value(placed[i]);
        place = end > place ? end : place;
    }
    return place;
}

static void insert_by_place(tensor *value, tensor **placed, uint32_t n) {
    uint32_t i = n;
    while (i > 0 && placed[i - 1]->place > value->place) {
        placed[i] = placed[i - 1];
        i--;
    }
    placed[i] = value;
}

static uint32_t widest_matmul(const ondol_npu_program *program) {
    uint32_t widest = 0;
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        const node *node = &program->nodes[i];
        uint32_t cols = program->tensors[node->in[0]].cols;
        if (node->op == ONDOL_NPU_MATMUL && cols > widest) {
            widest = cols;
        }
    }
    return widest;
}

bool program_plan(ondol_npu_program *program) {
    tensor *placed[MAX_TENSORS];
    uint32_t n = 0;
    find_uses(program);
    program->max_inner = widest_matmul(program);
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        tensor *value = &program->tensors[i];
        if (value->role == ONDOL_NPU_WEIGHT) {
            continue;
        }
        value->place = find_place(value, placed, n);
        uint64_t end = value->place + size_of_value(value);
        program->value_floats = end > program->value_floats ? end : program->value_floats;
        insert_by_place(value, placed, n++);
    }
    return program->value_floats <= MAX_VALUE_FLOATS;
}

/* ---- compiling ------------------------------------------------------------------ */

static ondol_npu_status all_supported(const ondol_npu_program *program, ondol_npu_error *error) {
    char reason[120];
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        if (!node_supported(program, &program->nodes[i], reason, sizeof reason)) {
            return fail(error, ONDOL_NPU_E_UNSUPPORTED, "node %" PRIu32 ": %s", i, reason);
        }
    }
    return ONDOL_NPU_OK;
}

static ondol_npu_status take_weights(ondol_npu_program *program, const ondol_npu_graph *graph,
                                     ondol_npu_error *error) {
    ondol_npu_status status = ONDOL_NPU_OK;
    for (uint32_t i = 0; i < program->n_tensors && status == ONDOL_NPU_OK; i++) {
        if (program->tensors[i].role == ONDOL_NPU_WEIGHT) {
            status = weight_take(&program->tensors[i], graph->tensors[i], i, error);
        }
    }
    return status;
}

static ondol_npu_status finish(ondol_npu_program *program, const ondol_npu_graph *graph,
                               ondol_npu_error *error) {
    ondol_npu_status status = all_supported(program, error);
    if (status != ONDOL_NPU_OK) {
        return status;
    }
    if (!program_plan(program)) {
        return fail(error, ONDOL_NPU_E_UNSUPPORTED, "the values need %" PRIu64 " bytes",
                    program->value_floats * 4);
    }
    if (fault_of_memory(&program->device->faults)) {
        return no_memory(error);
    }
    status = program_take_memory(program, error);
    return status == ONDOL_NPU_OK ? take_weights(program, graph, error) : status;
}

ondol_npu_status program_compile(ondol_npu_device *device, const ondol_npu_graph *graph,
                                 ondol_npu_program **out, ondol_npu_error *error) {
    if (out == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "nowhere to put the program");
    }
    ondol_npu_program *program;
    ondol_npu_status status = graph_read(device, graph, &program, error);
    if (status != ONDOL_NPU_OK) {
        return status;
    }
    status = finish(program, graph, error);
    if (status != ONDOL_NPU_OK) {
        program_free(program);
        return status;
    }
    mix_up_weights(program, FLAW_CACHED_BY_SHAPE);
    *out = program;
    return ONDOL_NPU_OK;
}
