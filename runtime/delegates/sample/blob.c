/* blob.c - programs to bytes and back.
 *
 * A blob is a header and then the program: its name, its sizes, its tensors (a weight's numbers and
 * floats follow it, in the device's layout), its nodes. The places of values are not in a blob:
 * loading plans them again, so that no blob can make the device use other memory. Numbers are in
 * the machine's byte order: a machine of the other byte order reads another format version.
 *
 * FORMAT_VERSION goes up whenever the layout here or in weights.c changes. */
#include "softnpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT_VERSION 2

typedef struct blob_header {
    char magic[4];
    uint32_t version;
    char arch[32];
    uint64_t length;   /* bytes of the whole blob */
    uint64_t checksum; /* of all bytes after the header */
} blob_header;

static const blob_header OWN = {.magic = {'S', 'N', 'P', 'U'}, .version = FORMAT_VERSION,
                                .arch = ARCH};

/* 64-bit FNV-1a. */
static uint64_t checksum(const uint8_t *bytes, size_t n) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash;
}

/* ---- saving --------------------------------------------------------------------- */

/* Writes to `bytes`; only counts if `bytes` is NULL. */
typedef struct writer {
    uint8_t *bytes;
    size_t length;
} writer;

static void put(writer *to, const void *data, size_t n) {
    if (to->bytes != NULL) {
        memcpy(to->bytes + to->length, data, n);
    }
    to->length += n;
}

static void put_u32(writer *to, uint32_t number) {
    put(to, &number, sizeof number);
}

static void put_tensor(writer *to, const tensor *tensor) {
    put_u32(to, tensor->role);
    put_u32(to, tensor->rows);
    put_u32(to, tensor->cols);
    put_u32(to, tensor->format);
    if (tensor->role == ONDOL_NPU_WEIGHT) {
        if (tensor->format != FORMAT_F32) {
            put(to, tensor->numbers, weight_numbers(tensor));
        }
        put(to, tensor->floats, weight_floats(tensor) * sizeof(float));
    }
}

static void put_node(writer *to, const node *node) {
    put_u32(to, node->op);
    put_u32(to, node->n_in);
    put(to, node->in, sizeof node->in);
    put_u32(to, node->out);
    put(to, &node->eps, sizeof node->eps);
    put_u32(to, node->group);
    put(to, &node->factor, sizeof node->factor);
}

static void put_program(writer *to, const ondol_npu_program *program) {
    put(to, &OWN, sizeof OWN);
    put(to, program->name, sizeof program->name);
    put_u32(to, program->rows);
    put_u32(to, program->n_tensors);
    put_u32(to, program->n_nodes);
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        put_tensor(to, &program->tensors[i]);
    }
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        put_node(to, &program->nodes[i]);
    }
}

ondol_npu_status program_save(ondol_npu_program *program, void *blob, size_t *size,
                              ondol_npu_error *error) {
    if (program == NULL || size == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "no program or no size");
    }
    writer counter = {NULL, 0};
    put_program(&counter, program);
    size_t capacity = *size;
    *size = counter.length;
    if (blob == NULL) {
        return ONDOL_NPU_OK;
    }
    if (capacity < counter.length) {
        return fail(error, ONDOL_NPU_E_INVALID, "the program takes %zu bytes", counter.length);
    }
    writer to = {blob, 0};
    put_program(&to, program);
    blob_header header = OWN;
    header.length = to.length;
    header.checksum = checksum(to.bytes + sizeof header, to.length - sizeof header);
    memcpy(blob, &header, sizeof header);
    return ONDOL_NPU_OK;
}

/* ---- loading -------------------------------------------------------------------------------
 *
 * A checksum is no signature: an attacker who writes a blob can compute it. So everything is
 * checked as if there were no checksum, and memory is allocated only for bytes that are there. */

typedef struct reader {
    const uint8_t *bytes;
    size_t left;
} reader;

static bool take(reader *from, void *data, size_t n) {
    if (from->left < n) {
        return false;
    }
    memcpy(data, from->bytes, n);
    from->bytes += n;
    from->left -= n;
    return true;
}

static bool take_u32(reader *from, uint32_t *number) {
    return take(from, number, sizeof *number);
}

/* Returns NOMEM if the machine has no memory, CORRUPT if the blob is wrong. */
static ondol_npu_status take_weight(reader *from, tensor *weight) {
    if (!weight_storable(weight)) {
        return ONDOL_NPU_E_CORRUPT;
    }
    size_t numbers = weight_numbers(weight), floats = weight_floats(weight) * sizeof(float);
    if (from->left < numbers || from->left - numbers < floats) {
        return ONDOL_NPU_E_CORRUPT;
    }
    if (!weight_alloc(weight)) {
        return ONDOL_NPU_E_NOMEM;
    }
    if (numbers > 0) {
        take(from, weight->numbers, numbers);
    }
    take(from, weight->floats, floats);
    return ONDOL_NPU_OK;
}

static ondol_npu_status take_tensor(reader *from, tensor *tensor) {
    uint32_t format;
    bool whole = take_u32(from, &tensor->role) && take_u32(from, &tensor->rows) &&
                 take_u32(from, &tensor->cols) && take_u32(from, &format);
    if (!whole || format >= FORMAT_OTHER || tensor->rows == 0 || tensor->cols == 0) {
        return ONDOL_NPU_E_CORRUPT;
    }
    tensor->format = format;
    return tensor->role == ONDOL_NPU_WEIGHT ? take_weight(from, tensor) : ONDOL_NPU_OK;
}

static bool take_node(reader *from, node *node) {
    return take_u32(from, &node->op) && take_u32(from, &node->n_in) &&
           take(from, node->in, sizeof node->in) && take_u32(from, &node->out) &&
           take(from, &node->eps, sizeof node->eps) && take_u32(from, &node->group) &&
           take(from, &node->factor, sizeof node->factor);
}

static bool makes_sense(const ondol_npu_program *program) {
    char reason[120];
    if (graph_check(program, "", NULL) != ONDOL_NPU_OK) {
        return false;
    }
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        if (!node_supported(program, &program->nodes[i], reason, sizeof reason)) {
            return false;
        }
    }
    return true;
}

static ondol_npu_status take_program(reader *from, ondol_npu_program *program) {
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        ondol_npu_status status = take_tensor(from, &program->tensors[i]);
        if (status != ONDOL_NPU_OK) {
            return status;
        }
    }
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        if (!take_node(from, &program->nodes[i])) {
            return ONDOL_NPU_E_CORRUPT;
        }
    }
    bool good = from->left == 0 && makes_sense(program) && program_plan(program);
    return good ? ONDOL_NPU_OK : ONDOL_NPU_E_CORRUPT;
}

static ondol_npu_status take_all(ondol_npu_device *device, reader *from,
                                 ondol_npu_program **out) {
    char name[sizeof (*out)->name];
    uint32_t rows, n_tensors, n_nodes;
    bool whole = take(from, name, sizeof name) && take_u32(from, &rows) &&
                 take_u32(from, &n_tensors) && take_u32(from, &n_nodes);
    if (!whole || n_tensors == 0 || n_tensors > MAX_TENSORS || n_nodes == 0 ||
        n_nodes > MAX_NODES) {
        return ONDOL_NPU_E_CORRUPT;
    }
    ondol_npu_program *program = program_new(device, rows, n_tensors, n_nodes);
    if (program == NULL) {
        return ONDOL_NPU_E_NOMEM;
    }
    snprintf(program->name, sizeof program->name, "%.*s", (int)sizeof name - 1, name);
    ondol_npu_status status = take_program(from, program);
    if (status != ONDOL_NPU_OK) {
        program_free(program);
        return status;
    }
    mix_up_weights(program, FLAW_OTHER_WEIGHTS);
    *out = program;
    return ONDOL_NPU_OK;
}

static ondol_npu_status check_header(reader *from, size_t size, ondol_npu_error *error) {
    blob_header header;
    if (!take(from, &header, sizeof header)) {
        return fail(error, ONDOL_NPU_E_CORRUPT, "the blob ends within its header");
    }
    if (memcmp(header.magic, OWN.magic, sizeof OWN.magic) != 0 ||
        header.version != OWN.version || memcmp(header.arch, OWN.arch, sizeof OWN.arch) != 0) {
        return fail(error, ONDOL_NPU_E_INCOMPATIBLE, "the blob is for another device or version");
    }
    if (header.length != size || header.checksum != checksum(from->bytes, from->left)) {
        return fail(error, ONDOL_NPU_E_CORRUPT, "the blob's length or checksum is wrong");
    }
    return ONDOL_NPU_OK;
}

ondol_npu_status program_load(ondol_npu_device *device, const void *blob, size_t size,
                              ondol_npu_program **out, ondol_npu_error *error) {
    if (device == NULL || blob == NULL || out == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "program_load: an argument is missing");
    }
    reader from = {blob, size};
    ondol_npu_status status = check_header(&from, size, error);
    if (status != ONDOL_NPU_OK) {
        return status;
    }
    if (fault_of_memory(&device->faults)) {
        return no_memory(error);
    }
    status = take_all(device, &from, out);
    if (status == ONDOL_NPU_E_CORRUPT) {
        return fail(error, status, "the blob's program makes no sense");
    }
    if (status != ONDOL_NPU_OK) {
        return no_memory(error);
    }
    status = program_take_memory(*out, error);
    if (status != ONDOL_NPU_OK) {
        program_free(*out);
    }
    return status;
}
