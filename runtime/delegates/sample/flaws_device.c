/* flaws_device.c - flaws of claims, programs, memory and delivery. */
#define _DEFAULT_SOURCE /* for MAP_ANONYMOUS */
#include "softnpu.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { LEAK = 64 << 10, VIRTUAL_LEAK = 1 << 20, OVERRUN = 64, DELAY_NS = 5000000 };

/* ---- claims ------------------------------------------------------------------- */

long first_layer(const ondol_npu_program *program) {
    if (strncmp(program->name, "layer", strlen("layer")) != 0) {
        return -1;
    }
    return strtol(program->name + strcspn(program->name, " "), NULL, 10);
}

bool flaw_of_claim(const ondol_npu_program *program) {
    return first_layer(program) > 0 && has_now(&program->device->faults, FLAW_CLAIMS_LITTLE);
}

/* ---- weights of another program ----------------------------------------------- */

typedef struct remembered {
    struct remembered *next;
    ondol_npu_program *program;
} remembered;

bool weight_copy(tensor *weight) {
    tensor copy = *weight;
    copy.numbers = NULL;
    if (!weight_alloc(&copy)) {
        free(copy.numbers);
        free(copy.floats);
        return false;
    }
    if (copy.numbers != NULL) {
        memcpy(copy.numbers, weight->numbers, weight_numbers(weight));
    }
    memcpy(copy.floats, weight->floats, weight_floats(weight) * sizeof *copy.floats);
    *weight = copy;
    return true;
}

/* Puts copies of one program's weights into another of the same shape. */
static bool copy_weights(ondol_npu_program *to, const ondol_npu_program *from) {
    for (uint32_t i = 0; i < to->n_tensors; i++) {
        tensor weight = from->tensors[i];
        if (weight.role != ONDOL_NPU_WEIGHT) {
            continue;
        }
        if (!weight_copy(&weight)) {
            return false;
        }
        free(to->tensors[i].numbers);
        free(to->tensors[i].floats);
        to->tensors[i] = weight;
    }
    return true;
}

static bool same_tensor(const tensor *a, const tensor *b) {
    return a->role == b->role && a->rows == b->rows && a->cols == b->cols &&
           a->format == b->format;
}

static bool same_shape(const ondol_npu_program *a, const ondol_npu_program *b) {
    if (a->rows != b->rows || a->n_tensors != b->n_tensors || a->n_nodes != b->n_nodes ||
        memcmp(a->nodes, b->nodes, a->n_nodes * sizeof *a->nodes) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < a->n_tensors; i++) {
        if (!same_tensor(&a->tensors[i], &b->tensors[i])) {
            return false;
        }
    }
    return true;
}

static const ondol_npu_program *find(const remembered *first, const ondol_npu_program *program,
                                     bool by_name) {
    for (; first != NULL; first = first->next) {
        bool named = !by_name || strcmp(first->program->name, program->name) == 0;
        if (named && same_shape(first->program, program)) {
            return first->program;
        }
    }
    return NULL;
}

static ondol_npu_program *program_copy(const ondol_npu_program *from) {
    ondol_npu_program *copy =
        program_new(from->device, from->rows, from->n_tensors, from->n_nodes);
    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy->name, from->name, sizeof copy->name);
    memcpy(copy->nodes, from->nodes, from->n_nodes * sizeof *copy->nodes);
    for (uint32_t i = 0; i < from->n_tensors; i++) {
        copy->tensors[i] = from->tensors[i];
        copy->tensors[i].numbers = NULL;
        copy->tensors[i].floats = NULL;
    }
    if (!copy_weights(copy, from)) {
        program_free(copy);
        return NULL;
    }
    return copy;
}

static void remember(remembered **first, const ondol_npu_program *program) {
    remembered *entry = malloc(sizeof *entry);
    ondol_npu_program *copy = entry != NULL ? program_copy(program) : NULL;
    if (copy == NULL) {
        free(entry);
        return;
    }
    *entry = (remembered){*first, copy};
    *first = entry;
}

void mix_up_weights(ondol_npu_program *program, fault flaw) {
    device_flaws *flaws = &program->device->flaws;
    if (!has_now(&program->device->faults, flaw)) {
        return;
    }
    pthread_mutex_lock(&flaws->lock);
    const ondol_npu_program *earlier =
        find(flaws->programs, program, flaw == FLAW_CACHED_BY_SHAPE);
    if (earlier != NULL) {
        copy_weights(program, earlier);
    } else {
        remember(&flaws->programs, program);
    }
    pthread_mutex_unlock(&flaws->lock);
}

/* ---- leaks -------------------------------------------------------------------- */

typedef struct leaked {
    struct leaked *next;
    void *memory;
    size_t size;
} leaked;

static void leak_block(device_flaws *flaws, size_t size, bool touched) {
    leaked *block = malloc(sizeof *block);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == NULL || memory == MAP_FAILED) {
        free(block);
        return;
    }
    if (touched) {
        memset(memory, 1, size);
    }
    pthread_mutex_lock(&flaws->lock);
    *block = (leaked){flaws->leaked, memory, size};
    flaws->leaked = block;
    pthread_mutex_unlock(&flaws->lock);
}

void leak(ondol_npu_device *device, uint64_t flaws) {
    if (has(flaws, FLAW_LEAK_SUBMIT)) {
        leak_block(&device->flaws, LEAK, true);
    }
    if (has(flaws, FLAW_LEAK_VIRTUAL)) {
        leak_block(&device->flaws, VIRTUAL_LEAK, false);
    }
}

/* ---- values of earlier calls -------------------------------------------------- */

typedef struct kept {
    struct kept *next;
    const tensor *value;
    float numbers[];
} kept;

/* The session's copy of a value from an earlier call; in the first call, of the value as it is
 * now. NULL if there is no memory. */
static float *kept_of(ondol_npu_session *session, const tensor *value) {
    for (kept *entry = session->flaws.kept; entry != NULL; entry = entry->next) {
        if (entry->value == value) {
            return entry->numbers;
        }
    }
    kept *entry = malloc(sizeof *entry + value_bytes(value));
    if (entry == NULL) {
        return NULL;
    }
    entry->next = session->flaws.kept;
    entry->value = value;
    memcpy(entry->numbers, session->space.values + value->place, value_bytes(value));
    session->flaws.kept = entry;
    return entry->numbers;
}

static bool is_zero(const float *row, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (row[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Replaces rows of zeros by what they had in earlier calls. Returns whether the last row is a row
 * of zeros. */
static bool keep_rows(const tensor *value, float *values, float *kept) {
    size_t cols = value->cols, bytes = cols * sizeof *values;
    bool zero = false;
    for (size_t row = 0; row < value->rows; row++, values += cols, kept += cols) {
        zero = is_zero(values, cols);
        memcpy(zero ? values : kept, zero ? kept : values, bytes);
    }
    return zero;
}

void keep_padding(ondol_npu_job *job) {
    bool padded = job->program->rows > 1 && has(job->flaws, FLAW_STALE_PADDING);
    for (uint32_t i = 0; i < job->program->n_tensors && padded; i++) {
        const tensor *value = &job->program->tensors[i];
        if (value->role == ONDOL_NPU_INPUT) {
            float *kept = kept_of(job->session, value);
            float *values = job->session->space.values + value->place;
            padded = kept != NULL && keep_rows(value, values, kept);
        }
    }
    job->session->flaws.padded = padded;
}

void add_padding(ondol_npu_job *job) {
    if (!job->session->flaws.padded) {
        return;
    }
    for (uint32_t i = 0; i < job->program->n_tensors; i++) {
        const tensor *value = &job->program->tensors[i];
        float *first = job->session->space.values + value->place;
        const float *last = first + ((size_t)value->rows - 1) * value->cols;
        for (size_t j = 0; value->role == ONDOL_NPU_OUTPUT && j < value->cols; j++) {
            first[j] += last[j] / 32;
        }
    }
}

void exchange_output(ondol_npu_job *job) {
    const tensor *last = NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < job->program->n_tensors; i++) {
        if (job->program->tensors[i].role == ONDOL_NPU_OUTPUT) {
            last = &job->program->tensors[i];
            n++;
        }
    }
    if (!has(job->flaws, FLAW_STALE_OUTPUT) || n < 2) {
        return;
    }
    float *values = job->session->space.values + last->place, *kept = kept_of(job->session, last);
    for (size_t i = 0; kept != NULL && i < (size_t)last->rows * last->cols; i++) {
        float now = values[i];
        values[i] = kept[i];
        kept[i] = now;
    }
}

/* ---- delivery ----------------------------------------------------------------- */

typedef struct late {
    const ondol_npu_program *program;
    uint32_t first; /* the rows that are still to be written */
    uint32_t end;
    uint8_t *bound[];
} late;

/* Writes all but some rows; false if the job has no such flaw. The program's values stay where
 * they are until the worker takes its next job. */
static bool write_in_part(ondol_npu_job *job) {
    const ondol_npu_program *program = job->program;
    bool all = has(job->flaws, FLAW_ENDS_EARLY), one = has(job->flaws, FLAW_ROW_LATE);
    size_t size = program->n_tensors * sizeof job->bound[0];
    late *rest = all || one ? malloc(sizeof *rest + size) : NULL;
    if (rest == NULL) {
        return false;
    }
    uint32_t middle = program->rows / 8;
    *rest = (late){program, all ? 0 : middle, all ? program->rows : middle + 1};
    memcpy(rest->bound, job->bound, size);
    const float *values = job->session->space.values;
    write_rows(program, values, job->bound, 0, rest->first);
    write_rows(program, values, job->bound, rest->end, program->rows);
    pthread_mutex_lock(&job->session->device->flaws.delivery); /* until write_late */
    job->session->flaws.late = rest;
    return true;
}

static void overrun(const ondol_npu_job *job) {
    for (uint32_t i = 0; i < job->program->n_tensors; i++) {
        const tensor *value = &job->program->tensors[i];
        if (value->role == ONDOL_NPU_OUTPUT) {
            memset(job->bound[i] + value_bytes(value), 0x5A, OVERRUN);
            return;
        }
    }
}

void flawed_write(ondol_npu_job *job) {
    if (!write_in_part(job)) {
        write_rows(job->program, job->session->space.values, job->bound, 0, job->program->rows);
    }
    if (has(job->flaws, FLAW_OVERRUN)) {
        overrun(job);
    }
}

void write_late(ondol_npu_session *session) {
    late *rest = session->flaws.late;
    session->flaws.late = NULL;
    nanosleep(&(struct timespec){0, DELAY_NS}, NULL);
    write_rows(rest->program, session->space.values, rest->bound, rest->first, rest->end);
    pthread_mutex_unlock(&session->device->flaws.delivery);
    free(rest);
}

/* ---- the device and its sessions ---------------------------------------------- */

void device_flaws_init(device_flaws *flaws) {
    pthread_mutex_init(&flaws->lock, NULL);
    pthread_mutex_init(&flaws->delivery, NULL);
}

void device_flaws_free(device_flaws *flaws) {
    while (flaws->leaked != NULL) {
        leaked *block = flaws->leaked;
        flaws->leaked = block->next;
        munmap(block->memory, block->size);
        free(block);
    }
    while (flaws->programs != NULL) {
        remembered *entry = flaws->programs;
        flaws->programs = entry->next;
        program_free(entry->program);
        free(entry);
    }
    pthread_mutex_destroy(&flaws->lock);
    pthread_mutex_destroy(&flaws->delivery);
}

void session_flaws_free(session_flaws *flaws) {
    while (flaws->kept != NULL) {
        kept *entry = flaws->kept;
        flaws->kept = entry->next;
        free(entry);
    }
}
