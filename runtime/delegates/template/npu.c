/* npu.c - the smallest complete plug-in of Ondol's NPU contract, ondol_npu.h: matmuls with weights
 * in F32. "STUB:" marks what the processor does here instead of a device; everything else is
 * what the contract requires of every plug-in, and stays.
 *
 * Values are F32, and weights are kept as the host gives them. Whatever your device takes: claim
 * only what it computes, and say in device_info how it computes. */
#define _POSIX_C_SOURCE 200809L /* for clock_gettime */
#include "ondol_npu.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEADER(T) {sizeof(T), ONDOL_NPU_ABI_MAJOR, ONDOL_NPU_ABI_MINOR}
/* Whether `p` is not NULL and its struct has all fields of version 1.0. */
#define VALID(p, T, last_field) ((p) != NULL && ONDOL_NPU_HAS(p, T, last_field))

enum { MAX_LISTED = 4096, MAX_SIDE = 1 << 20, MAX_VALUES = 1 << 26 };

struct ondol_npu_device {
    int handle; /* STUB: the driver's handle */
};

struct ondol_npu_buffer {
    ondol_npu_device *device;
    uint8_t *bytes;
    uint64_t size;
};

typedef struct tensor {
    uint32_t role;
    uint32_t rows;
    uint32_t cols;
    uint32_t is_f32;
    float *weight; /* STUB: weights in the device's memory; NULL for values */
} tensor;

typedef struct node {
    uint32_t op;
    uint32_t n_in;
    uint32_t in[4];
    uint32_t out;
} node;

struct ondol_npu_program {
    ondol_npu_device *device;
    uint32_t rows;
    uint32_t n_tensors;
    uint32_t n_nodes;
    tensor *tensors;
    node *nodes;
};

struct ondol_npu_session {
    ondol_npu_program **programs;
    uint32_t n_programs;
};

struct ondol_npu_job {
    ondol_npu_status outcome;
    uint64_t exec_ns;
};

/* ---- errors --------------------------------------------------------------------- */

static ondol_npu_status fail(ondol_npu_error *error, ondol_npu_status code, const char *format, ...) {
    if (VALID(error, ondol_npu_error, message)) {
        va_list args;
        va_start(args, format);
        error->code = code;
        error->vendor_code = 0;
        error->flags = 0;
        vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
    }
    return code;
}

static ondol_npu_status no_memory(ondol_npu_error *error) {
    return fail(error, ONDOL_NPU_E_NOMEM, "out of memory");
}

/* ---- the device ----------------------------------------------------------------- */

static const ondol_npu_quant F32 = {HEADER(ondol_npu_quant), ONDOL_NPU_F32, 0, 0};
static const ondol_npu_quant *const QUANTS[] = {&F32};
/* One row for decode; the largest for prefill. */
static const uint32_t ROWS[] = {1, 64};

static ondol_npu_status init(const ondol_npu_host *host, ondol_npu_error *error) {
    bool valid = VALID(host, ondol_npu_host, log);
    return valid ? ONDOL_NPU_OK : fail(error, ONDOL_NPU_E_INVALID, "no host");
}

static uint32_t device_count(void) {
    return 1; /* STUB: ask the driver */
}

static ondol_npu_status device_open(uint32_t index, ondol_npu_device **out,
                                    ondol_npu_error *error) {
    if (out == NULL || index >= device_count()) {
        return fail(error, ONDOL_NPU_E_INVALID, "there is no device %u", (unsigned)index);
    }
    *out = calloc(1, sizeof **out); /* STUB: open the driver */
    return *out != NULL ? ONDOL_NPU_OK : no_memory(error);
}

static void device_close(ondol_npu_device *device) {
    free(device); /* STUB: close the driver */
}

static ondol_npu_status device_info(ondol_npu_device *device, ondol_npu_device_info *info,
                                    ondol_npu_error *error) {
    if (device == NULL || !VALID(info, ondol_npu_device_info, rows)) {
        return fail(error, ONDOL_NPU_E_INVALID, "no device or no info");
    }
    /* STUB: your names and versions. No flags once a device computes. */
    snprintf(info->vendor, sizeof info->vendor, "Vendor");
    snprintf(info->device, sizeof info->device, "template");
    snprintf(info->arch, sizeof info->arch, "template1");
    snprintf(info->driver, sizeof info->driver, "1.0");
    snprintf(info->firmware, sizeof info->firmware, "none");
    info->flags = ONDOL_NPU_DEVICE_EMULATED | ONDOL_NPU_DEVICE_STUB;
    info->mem_caps = ONDOL_NPU_MEM_HOST;
    info->mem_total = 0;
    info->mem_free = 0;
    info->activations = ONDOL_NPU_F32;
    info->n_quants = sizeof QUANTS / sizeof *QUANTS;
    info->quants = QUANTS;
    info->n_rows = sizeof ROWS / sizeof *ROWS;
    info->rows = ROWS;
    if (ONDOL_NPU_HAS(info, ondol_npu_device_info, rounding)) {
        info->activation_group = 0; /* for integers only */
        info->accumulator_bits = 24; /* sums are floats */
        info->rounding = ONDOL_NPU_ROUND_NEAREST_EVEN;
    }
    return ONDOL_NPU_OK;
}

/* ---- programs ------------------------------------------------------------------- */

static void program_free(ondol_npu_program *program) {
    for (uint32_t i = 0; program != NULL && program->tensors != NULL && i < program->n_tensors;
         i++) {
        free(program->tensors[i].weight);
    }
    if (program != NULL) {
        free(program->tensors);
        free(program->nodes);
    }
    free(program);
}

static ondol_npu_program *program_new(ondol_npu_device *device, uint32_t rows, uint32_t n_tensors,
                                      uint32_t n_nodes) {
    ondol_npu_program *program = calloc(1, sizeof *program);
    if (program == NULL) {
        return NULL;
    }
    *program = (ondol_npu_program){device, rows, n_tensors, n_nodes, NULL, NULL};
    program->tensors = calloc(n_tensors, sizeof *program->tensors);
    program->nodes = calloc(n_nodes, sizeof *program->nodes);
    if (program->tensors == NULL || program->nodes == NULL) {
        program_free(program);
        return NULL;
    }
    return program;
}

/* The numbers of a tensor; sides are at most MAX_SIDE. */
static size_t numbers(const tensor *tensor) {
    return (size_t)tensor->rows * tensor->cols;
}

static bool is_value(const tensor *tensor) {
    return tensor->role != ONDOL_NPU_WEIGHT;
}

/* Each of the next functions returns what is wrong with a graph, or NULL if nothing is. */

static const char *wrong_with_tensors(const ondol_npu_program *program) {
    size_t values = 0;
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        const tensor *tensor = &program->tensors[i];
        if (tensor->role > ONDOL_NPU_WEIGHT || tensor->rows == 0 || tensor->cols == 0 ||
            tensor->rows > MAX_SIDE || tensor->cols > MAX_SIDE) {
            return "a tensor is empty, too large, or of an unknown role";
        }
        if (is_value(tensor) && tensor->rows != program->rows) {
            return "a value has not as many rows as the graph";
        }
        values += is_value(tensor) ? numbers(tensor) : 0;
        if (values > MAX_VALUES) {
            return "the values are too large";
        }
    }
    return NULL;
}

static const char *wrong_with_node(const ondol_npu_program *program, const node *node,
                                   const bool *written) {
    if (node->n_in == 0 || node->n_in > 4 || node->out >= program->n_tensors) {
        return "a node has no inputs or no output";
    }
    for (uint32_t i = 0; i < node->n_in; i++) {
        uint32_t in = node->in[i];
        if (in >= program->n_tensors || (is_value(&program->tensors[in]) && !written[in])) {
            return "a node reads a tensor that is not there yet";
        }
    }
    uint32_t role = program->tensors[node->out].role;
    bool writable = role == ONDOL_NPU_INTERMEDIATE || role == ONDOL_NPU_OUTPUT;
    return writable && !written[node->out] ? NULL : "a node writes what it must not";
}

static const char *wrong_with_nodes(const ondol_npu_program *program, bool *written) {
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        written[i] = program->tensors[i].role == ONDOL_NPU_INPUT;
    }
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        const char *wrong = wrong_with_node(program, &program->nodes[i], written);
        if (wrong != NULL) {
            return wrong;
        }
        written[program->nodes[i].out] = true;
    }
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        if (program->tensors[i].role == ONDOL_NPU_OUTPUT && !written[i]) {
            return "an output is never written";
        }
    }
    return NULL;
}

/* INVALID if the graph is broken. */
static ondol_npu_status check(const ondol_npu_program *program, ondol_npu_error *error) {
    const char *wrong = wrong_with_tensors(program);
    bool *written = calloc(program->n_tensors, sizeof *written);
    if (written == NULL) {
        return no_memory(error);
    }
    wrong = wrong != NULL ? wrong : wrong_with_nodes(program, written);
    free(written);
    return wrong == NULL ? ONDOL_NPU_OK : fail(error, ONDOL_NPU_E_INVALID, "%s", wrong);
}

/* Why the device does not take a node of a valid graph; NULL if it takes the node. */
static const char *why_refused(const ondol_npu_program *program, const node *node) {
    if (node->op != ONDOL_NPU_MATMUL) {
        return "only matmuls run on the device"; /* STUB: take more of the seven operations */
    }
    if (program->rows != ROWS[0] && program->rows != ROWS[1]) {
        return "no programs of that many rows";
    }
    const tensor *in = &program->tensors[node->in[0]], *out = &program->tensors[node->out];
    const tensor *matrix = node->n_in > 1 ? &program->tensors[node->in[1]] : in;
    const tensor *bias = node->n_in > 2 ? &program->tensors[node->in[2]] : NULL;
    if (node->n_in > 3 || !is_value(in) || is_value(matrix) || !matrix->is_f32 ||
        matrix->cols != in->cols || matrix->rows != out->cols) {
        return "the matrix is not a weight in F32 that fits input and output";
    }
    bool fits = bias == NULL ||
                (!is_value(bias) && bias->is_f32 && bias->rows == 1 && bias->cols == out->cols);
    return fits ? NULL : "the bias is not a vector in F32 that fits the output";
}

static ondol_npu_status check_taken(const ondol_npu_program *program, ondol_npu_error *error) {
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        const char *why = why_refused(program, &program->nodes[i]);
        if (why != NULL) {
            return fail(error, ONDOL_NPU_E_UNSUPPORTED, "node %u: %s", (unsigned)i, why);
        }
    }
    return ONDOL_NPU_OK;
}

static bool read_tensor(const ondol_npu_tensor *from, uint32_t id, tensor *to) {
    if (!VALID(from, ondol_npu_tensor, scales_size) || from->id != id ||
        (from->quant != NULL && !VALID(from->quant, ondol_npu_quant, scale_type))) {
        return false;
    }
    bool is_f32 = from->quant == NULL || from->quant->store == ONDOL_NPU_F32;
    *to = (tensor){from->role, from->rows, from->cols, is_f32, NULL};
    return true;
}

static bool read_node(const ondol_npu_node *from, node *to) {
    if (!VALID(from, ondol_npu_node, factor)) {
        return false;
    }
    *to = (node){.op = from->op, .n_in = from->n_in, .out = from->out};
    memcpy(to->in, from->in, sizeof to->in);
    return true;
}

static bool read_all(const ondol_npu_graph *graph, ondol_npu_program *program) {
    for (uint32_t i = 0; i < graph->n_tensors; i++) {
        if (!read_tensor(graph->tensors[i], i, &program->tensors[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        if (!read_node(graph->nodes[i], &program->nodes[i])) {
            return false;
        }
    }
    return true;
}

/* Reads the host's graph without the data of its weights, and checks it. */
static ondol_npu_status graph_read(ondol_npu_device *device, const ondol_npu_graph *graph,
                                   ondol_npu_program **out, ondol_npu_error *error) {
    if (device == NULL || !VALID(graph, ondol_npu_graph, nodes) || graph->tensors == NULL ||
        graph->nodes == NULL || graph->n_tensors == 0 || graph->n_nodes == 0 ||
        graph->n_tensors > MAX_LISTED || graph->n_nodes > MAX_LISTED) {
        return fail(error, ONDOL_NPU_E_INVALID, "no device, or no graph that it could take");
    }
    ondol_npu_program *program =
        program_new(device, graph->rows, graph->n_tensors, graph->n_nodes);
    if (program == NULL) {
        return no_memory(error);
    }
    ondol_npu_status status = read_all(graph, program)
                                  ? check(program, error)
                                  : fail(error, ONDOL_NPU_E_INVALID, "a part of the graph is missing");
    if (status != ONDOL_NPU_OK) {
        program_free(program);
        return status;
    }
    *out = program;
    return ONDOL_NPU_OK;
}

static ondol_npu_status claim(ondol_npu_device *device, const ondol_npu_graph *graph,
                              ondol_npu_claim *const *claims, ondol_npu_error *error) {
    ondol_npu_program *program = NULL;
    ondol_npu_status status = graph_read(device, graph, &program, error);
    if (status == ONDOL_NPU_OK && claims == NULL) {
        status = fail(error, ONDOL_NPU_E_INVALID, "nowhere to put the claims");
    }
    for (uint32_t i = 0; status == ONDOL_NPU_OK && i < program->n_nodes; i++) {
        if (!VALID(claims[i], ondol_npu_claim, reason)) {
            status = fail(error, ONDOL_NPU_E_INVALID, "a claim is missing");
            break;
        }
        const char *why = why_refused(program, &program->nodes[i]);
        claims[i]->claimed = why == NULL;
        snprintf(claims[i]->reason, sizeof claims[i]->reason, "%s", why != NULL ? why : "");
    }
    program_free(program);
    return status;
}

static ondol_npu_status take_weight(tensor *tensor, const void *data, uint64_t size,
                                    ondol_npu_error *error) {
    size_t bytes = numbers(tensor) * sizeof(float);
    if (data == NULL || size != bytes) {
        return fail(error, ONDOL_NPU_E_INVALID, "a weight has not its size");
    }
    tensor->weight = malloc(bytes);
    if (tensor->weight == NULL) {
        return no_memory(error);
    }
    memcpy(tensor->weight, data, bytes); /* STUB: the device's layout */
    return ONDOL_NPU_OK;
}

static ondol_npu_status compile(ondol_npu_device *device, const ondol_npu_graph *graph,
                                ondol_npu_program **out, ondol_npu_error *error) {
    ondol_npu_program *program = NULL;
    if (out == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "nowhere to put the program");
    }
    ondol_npu_status status = graph_read(device, graph, &program, error);
    if (status == ONDOL_NPU_OK) {
        status = check_taken(program, error);
    }
    for (uint32_t i = 0; status == ONDOL_NPU_OK && i < program->n_tensors; i++) {
        const ondol_npu_tensor *from = graph->tensors[i];
        if (!is_value(&program->tensors[i])) {
            status = take_weight(&program->tensors[i], from->data, from->data_size, error);
        }
    }
    if (status != ONDOL_NPU_OK) {
        program_free(program);
        return status;
    }
    *out = program; /* STUB: what your compiler makes of it */
    return ONDOL_NPU_OK;
}

/* ---- programs as bytes: a header, then tensors with their weights, then nodes ------- */

typedef struct blob_header {
    char magic[8];
    uint64_t size;
    uint64_t checksum; /* of all but the magic, the version and itself */
    uint32_t rows;
    uint32_t n_tensors;
    uint32_t n_nodes;
    uint32_t version; /* STUB: of your compiler; other versions are INCOMPATIBLE */
} blob_header;

#define MAGIC "TEMPLATE"
#define VERSION 1u

/* 64-bit FNV-1a. */
static uint64_t checksum(uint64_t hash, const void *data, size_t n) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash;
}

/* The checksum of everything but the magic, the version and the checksum itself. */
static uint64_t checksum_of(const blob_header *header, const void *rest) {
    uint64_t hash = checksum(0xcbf29ce484222325u, &header->size, sizeof header->size);
    hash = checksum(hash, &header->rows, 3 * sizeof header->rows);
    return checksum(hash, rest, (size_t)header->size - sizeof *header);
}

static size_t blob_size(const ondol_npu_program *program) {
    size_t size = sizeof(blob_header) + program->n_nodes * sizeof(node);
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        size += 4 * sizeof(uint32_t);
        size += is_value(&program->tensors[i]) ? 0 : numbers(&program->tensors[i]) * sizeof(float);
    }
    return size;
}

static uint8_t *put(uint8_t *to, const void *data, size_t n) {
    memcpy(to, data, n);
    return to + n;
}

static ondol_npu_status program_save(ondol_npu_program *program, void *blob, size_t *size,
                                     ondol_npu_error *error) {
    if (program == NULL || size == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "no program or no size");
    }
    size_t capacity = *size;
    *size = blob_size(program);
    if (blob == NULL) {
        return ONDOL_NPU_OK;
    }
    if (capacity < *size) {
        return fail(error, ONDOL_NPU_E_INVALID, "the program takes %zu bytes", *size);
    }
    blob_header header = {.size = *size, .rows = program->rows, .n_tensors = program->n_tensors,
                          .n_nodes = program->n_nodes, .version = VERSION};
    memcpy(header.magic, MAGIC, sizeof header.magic);
    uint8_t *start = (uint8_t *)blob + sizeof header, *to = start;
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        const tensor *tensor = &program->tensors[i];
        to = put(to, tensor, 4 * sizeof(uint32_t));
        if (!is_value(tensor)) {
            to = put(to, tensor->weight, numbers(tensor) * sizeof(float));
        }
    }
    put(to, program->nodes, program->n_nodes * sizeof(node));
    header.checksum = checksum_of(&header, start);
    memcpy(blob, &header, sizeof header);
    return ONDOL_NPU_OK;
}

typedef struct reader {
    const uint8_t *bytes;
    size_t left;
} reader;

/* Reads `n` bytes; false if there are fewer. Checked in spite of the checksum, which an attacker
 * can compute too. */
static bool take(reader *from, void *to, size_t n) {
    if (from->left < n) {
        return false;
    }
    memcpy(to, from->bytes, n);
    from->bytes += n;
    from->left -= n;
    return true;
}

static bool take_tensor(reader *from, tensor *tensor) {
    if (!take(from, tensor, 4 * sizeof(uint32_t)) || tensor->rows > MAX_SIDE ||
        tensor->cols > MAX_SIDE) {
        return false;
    }
    size_t bytes = numbers(tensor) * sizeof(float);
    if (is_value(tensor)) {
        return true;
    }
    if (bytes == 0 || bytes > from->left || (tensor->weight = malloc(bytes)) == NULL) {
        return false;
    }
    return take(from, tensor->weight, bytes);
}

static bool take_program(reader *from, ondol_npu_program *program) {
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        if (!take_tensor(from, &program->tensors[i])) {
            return false;
        }
    }
    return take(from, program->nodes, program->n_nodes * sizeof(node)) && from->left == 0 &&
           check(program, NULL) == ONDOL_NPU_OK && check_taken(program, NULL) == ONDOL_NPU_OK;
}

static ondol_npu_status program_load(ondol_npu_device *device, const void *blob, size_t size,
                                     ondol_npu_program **out, ondol_npu_error *error) {
    if (device == NULL || blob == NULL || out == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "program_load: an argument is missing");
    }
    reader from = {blob, size};
    blob_header header;
    if (!take(&from, &header, sizeof header)) {
        return fail(error, ONDOL_NPU_E_CORRUPT, "the blob ends within its header");
    }
    if (memcmp(header.magic, MAGIC, sizeof header.magic) != 0 || header.version != VERSION) {
        return fail(error, ONDOL_NPU_E_INCOMPATIBLE, "the blob is of another device or version");
    }
    if (header.size != size || header.checksum != checksum_of(&header, from.bytes) ||
        header.n_tensors == 0 || header.n_tensors > MAX_LISTED || header.n_nodes == 0 ||
        header.n_nodes > MAX_LISTED) {
        return fail(error, ONDOL_NPU_E_CORRUPT, "the blob is damaged");
    }
    ondol_npu_program *program =
        program_new(device, header.rows, header.n_tensors, header.n_nodes);
    if (program == NULL) {
        return no_memory(error);
    }
    if (!take_program(&from, program)) {
        program_free(program);
        return fail(error, ONDOL_NPU_E_CORRUPT, "the blob's program makes no sense");
    }
    *out = program;
    return ONDOL_NPU_OK;
}

/* ---- sessions and buffers --------------------------------------------------------- */

static void session_free(ondol_npu_session *session) {
    /* STUB: end running jobs; here a job has ended when submit returns. */
    if (session != NULL) {
        free(session->programs);
    }
    free(session);
}

static ondol_npu_status session_new(ondol_npu_program *const *programs, uint32_t n,
                                    ondol_npu_session **out, ondol_npu_error *error) {
    if (programs == NULL || n == 0 || out == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "session_new: an argument is missing");
    }
    ondol_npu_session *session = calloc(1, sizeof *session);
    ondol_npu_program **copy = calloc(n, sizeof *copy);
    if (session == NULL || copy == NULL) {
        free(copy);
        free(session);
        return no_memory(error);
    }
    memcpy(copy, programs, n * sizeof *copy);
    *session = (ondol_npu_session){copy, n};
    *out = session;
    return ONDOL_NPU_OK;
}

static ondol_npu_status buffer_import(ondol_npu_device *device, const ondol_npu_mem *memory,
                                      ondol_npu_buffer **out, ondol_npu_error *error) {
    if (device == NULL || out == NULL || !VALID(memory, ondol_npu_mem, align) ||
        memory->ptr == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "buffer_import: an argument is missing");
    }
    if (memory->kind != ONDOL_NPU_MEM_HOST) {
        return fail(error, ONDOL_NPU_E_UNSUPPORTED, "only the host's memory is taken");
    }
    ondol_npu_buffer *buffer = calloc(1, sizeof *buffer);
    if (buffer == NULL) {
        return no_memory(error);
    }
    /* STUB: map it for the device. */
    *buffer = (ondol_npu_buffer){device, (uint8_t *)memory->ptr + memory->offset, memory->size};
    *out = buffer;
    return ONDOL_NPU_OK;
}

static void buffer_release(ondol_npu_buffer *buffer) {
    free(buffer); /* STUB: unmap it */
}

/* ---- jobs ----------------------------------------------------------------------- */

/* STUB: what the device computes. A row depends on no other row, and sums are in one order, so a
 * row has the same bits in every program. */
static void matmul(const ondol_npu_program *program, const node *node, float *const *values) {
    const tensor *matrix = &program->tensors[node->in[1]];
    const float *bias = node->n_in > 2 ? program->tensors[node->in[2]].weight : NULL;
    for (size_t row = 0; row < program->rows; row++) {
        const float *in = values[node->in[0]] + row * matrix->cols;
        float *out = values[node->out] + row * matrix->rows;
        for (size_t n = 0; n < matrix->rows; n++) {
            const float *weights = matrix->weight + n * matrix->cols;
            float sum = 0;
            for (size_t k = 0; k < matrix->cols; k++) {
                sum += in[k] * weights[k];
            }
            out[n] = bias != NULL ? sum + bias[n] : sum;
        }
    }
}

/* Finds the values of a call: bound values are in the host's memory, the others in memory that is
 * allocated here and that `values_free` frees. */
static bool values_find(const ondol_npu_program *program, const ondol_npu_binding *const *bindings,
                        uint32_t n, float **values) {
    for (uint32_t i = 0; i < n; i++) {
        const ondol_npu_binding *binding = bindings[i];
        if (!VALID(binding, ondol_npu_binding, offset) || binding->buffer == NULL ||
            binding->tensor >= program->n_tensors || values[binding->tensor] != NULL) {
            return false;
        }
        const ondol_npu_buffer *buffer = binding->buffer;
        const tensor *tensor = &program->tensors[binding->tensor];
        bool bound = tensor->role == ONDOL_NPU_INPUT || tensor->role == ONDOL_NPU_OUTPUT;
        if (!bound || binding->offset > buffer->size || binding->offset % sizeof(float) != 0 ||
            numbers(tensor) * sizeof(float) > buffer->size - binding->offset) {
            return false;
        }
        values[binding->tensor] = (float *)(void *)(buffer->bytes + binding->offset);
    }
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        const tensor *tensor = &program->tensors[i];
        if (tensor->role == ONDOL_NPU_INTERMEDIATE) {
            values[i] = malloc(numbers(tensor) * sizeof(float));
        }
        if (is_value(tensor) && values[i] == NULL) {
            return false;
        }
    }
    return true;
}

static void values_free(const ondol_npu_program *program, float **values) {
    for (uint32_t i = 0; values != NULL && i < program->n_tensors; i++) {
        if (program->tensors[i].role == ONDOL_NPU_INTERMEDIATE) {
            free(values[i]);
        }
    }
    free(values);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static ondol_npu_status submit(ondol_npu_session *session, uint32_t index,
                               const ondol_npu_binding *const *bindings, uint32_t n,
                               uint64_t deadline_ns, ondol_npu_job **out, ondol_npu_error *error) {
    if (session == NULL || bindings == NULL || out == NULL || index >= session->n_programs) {
        return fail(error, ONDOL_NPU_E_INVALID, "submit: an argument is missing");
    }
    const ondol_npu_program *program = session->programs[index];
    uint64_t start = now_ns();
    ondol_npu_job *job = calloc(1, sizeof *job);
    float **values = calloc(program->n_tensors, sizeof *values);
    if (job == NULL || values == NULL || !values_find(program, bindings, n, values)) {
        values_free(program, values);
        free(job);
        return fail(error, ONDOL_NPU_E_INVALID, "submit: no memory, or the bindings are wrong");
    }
    /* STUB: hand the call to the driver's queue, and return at once. */
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        matmul(program, &program->nodes[i], values);
    }
    values_free(program, values);
    job->exec_ns = now_ns() - start;
    bool late = deadline_ns != 0 && job->exec_ns > deadline_ns;
    job->outcome = late ? ONDOL_NPU_E_TIMEOUT : ONDOL_NPU_OK;
    *out = job;
    return ONDOL_NPU_OK;
}

static ondol_npu_status job_wait(ondol_npu_job *job, uint64_t timeout_ns, uint32_t *ended,
                                 ondol_npu_metrics *metrics, ondol_npu_error *error) {
    (void)timeout_ns; /* STUB: wait for the driver, no longer than this */
    if (job == NULL || ended == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "job_wait: an argument is missing");
    }
    *ended = 1;
    if (VALID(metrics, ondol_npu_metrics, temperature_mc)) {
        metrics->measured = ONDOL_NPU_MEASURED_TIME; /* STUB: say what your meters measure */
        metrics->exec_ns = job->exec_ns;
    }
    return job->outcome == ONDOL_NPU_OK ? ONDOL_NPU_OK
                                        : fail(error, job->outcome, "the deadline is past");
}

static ondol_npu_status job_cancel(ondol_npu_job *job, ondol_npu_error *error) {
    /* STUB: ask the driver to end it; here it has ended. */
    return job != NULL ? ONDOL_NPU_OK : fail(error, ONDOL_NPU_E_INVALID, "no job");
}

static void job_free(ondol_npu_job *job) {
    free(job);
}

/* ---- the table ------------------------------------------------------------------ */

static const ondol_npu_api API = {
    .hdr = HEADER(ondol_npu_api),
    .name = "template",
    .version = "1.0",
    .licence = "Apache-2.0 OR MIT",
    .init = init,
    .device_count = device_count,
    .device_open = device_open,
    .device_close = device_close,
    .device_info = device_info,
    .claim = claim,
    .compile = compile,
    .program_save = program_save,
    .program_load = program_load,
    .program_free = program_free,
    .session_new = session_new,
    .session_free = session_free,
    .buffer_import = buffer_import,
    .buffer_release = buffer_release,
    .submit = submit,
    .job_wait = job_wait,
    .job_cancel = job_cancel,
    .job_free = job_free,
    .inject = NULL, /* for test builds, see "Faults" in docs/add-a-delegate.md */
};

__attribute__((visibility("default"))) ondol_npu_status
ondol_npu_get_api(uint32_t host_major, uint32_t host_minor, const ondol_npu_api **out) {
    (void)host_minor; /* Minor versions only append fields, and the reader tests for them. */
    if (out == NULL) {
        return ONDOL_NPU_E_INVALID;
    }
    if (host_major != ONDOL_NPU_ABI_MAJOR) {
        return ONDOL_NPU_E_INCOMPATIBLE;
    }
    *out = &API;
    return ONDOL_NPU_OK;
}
