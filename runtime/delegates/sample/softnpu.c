/* softnpu.c - the device, its buffers, errors, and the table of functions. */
#include "softnpu.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADER(T) {sizeof(T), ONDOL_NPU_ABI_MAJOR, ONDOL_NPU_ABI_MINOR}

/* ---- errors and the log --------------------------------------------------------- */

static _Atomic(const ondol_npu_host *) the_host;

void log_line(int level, const char *message) {
    const ondol_npu_host *host = atomic_load(&the_host);
    if (host != NULL && host->log != NULL) {
        host->log(host->context, level, message);
    }
}

/* Removes an incomplete last character from a text that was cut off. */
static void drop_last_character(char *text, size_t length) {
    while (length > 0 && ((unsigned char)text[length - 1] & 0xC0) == 0x80) {
        length--;
    }
    if (length > 0 && ((unsigned char)text[length - 1] & 0xC0) == 0xC0) {
        length--;
    }
    text[length] = 0;
}

static void fill_error(ondol_npu_error *error, ondol_npu_status code, uint32_t flags,
                       const char *format, va_list args) {
    if (!VALID(error, ondol_npu_error, message)) {
        return;
    }
    error->code = code;
    error->vendor_code = 0;
    error->flags = flags;
    int length = vsnprintf(error->message, sizeof error->message, format, args);
    if (length >= (int)sizeof error->message) {
        drop_last_character(error->message, sizeof error->message - 1);
    }
}

ondol_npu_status fail(ondol_npu_error *error, ondol_npu_status code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    uint32_t flags = code == ONDOL_NPU_E_DEVICE_LOST ? ONDOL_NPU_ERROR_NEEDS_RESET : 0;
    fill_error(error, code, flags, format, args);
    va_end(args);
    return code;
}

ondol_npu_status fail_for_now(ondol_npu_error *error, ondol_npu_status code, const char *format,
                              ...) {
    va_list args;
    va_start(args, format);
    fill_error(error, code, ONDOL_NPU_ERROR_RETRYABLE, format, args);
    va_end(args);
    return code;
}

ondol_npu_status no_memory(ondol_npu_error *error) {
    return fail(error, ONDOL_NPU_E_NOMEM, "out of memory");
}

/* ---- the device ----------------------------------------------------------------- */

static const ondol_npu_quant I4_BY_32 = {
    HEADER(ondol_npu_quant), ONDOL_NPU_I4, GROUP, ONDOL_NPU_F16};
static const ondol_npu_quant I8_BY_32 = {
    HEADER(ondol_npu_quant), ONDOL_NPU_I8, GROUP, ONDOL_NPU_F16};
static const ondol_npu_quant I8_BY_ROW = {
    HEADER(ondol_npu_quant), ONDOL_NPU_I8, ONDOL_NPU_GROUP_ROW, ONDOL_NPU_F32};
static const ondol_npu_quant *const QUANTS[] = {&I4_BY_32, &I8_BY_32, &I8_BY_ROW};

static const uint32_t ROWS[] = {1, 16, 64, 128, 256};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

bool rows_allowed(uint32_t rows) {
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        if (ROWS[i] == rows) {
            return true;
        }
    }
    return false;
}

/* A process may have several independent hosts (the tests of one program, for example), so a second
 * call is no error: the last host gets the log. */
static ondol_npu_status init(const ondol_npu_host *host, ondol_npu_error *error) {
    if (!VALID(host, ondol_npu_host, log)) {
        return fail(error, ONDOL_NPU_E_INVALID, "no host, or one that is too small");
    }
    atomic_store(&the_host, host);
    log_line(2, "softnpu 1.0: initialized");
    return ONDOL_NPU_OK;
}

/* The number in a variable of the environment; `otherwise` if there is none. */
static uint64_t number_of(const char *variable, uint64_t otherwise) {
    const char *text = getenv(variable);
    return text != NULL && *text != 0 ? strtoull(text, NULL, 10) : otherwise;
}

static uint32_t device_count(void) {
    return (uint32_t)number_of("SOFTNPU_DEVICES", 1);
}

bool memory_take(ondol_npu_device *device, uint64_t bytes) {
    uint64_t used = atomic_fetch_add(&device->mem_used, bytes) + bytes;
    if (device->mem_limit != 0 && used > device->mem_limit) {
        atomic_fetch_sub(&device->mem_used, bytes);
        return false;
    }
    return true;
}

static void device_close(ondol_npu_device *device) {
    if (device != NULL) {
        device_flaws_free(&device->flaws);
        pthread_mutex_destroy(&device->faults.lock);
        free(device);
    }
}

static ondol_npu_status device_open(uint32_t index, ondol_npu_device **out,
                                    ondol_npu_error *error) {
    if (out == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "nowhere to put the device");
    }
    if (atomic_load(&the_host) == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "device_open came before init");
    }
    if (index >= device_count()) {
        return fail(error, ONDOL_NPU_E_INVALID, "there is no device %" PRIu32, index);
    }
    ondol_npu_device *device = calloc(1, sizeof *device);
    if (device == NULL) {
        return no_memory(error);
    }
    device->index = index;
    device->mem_limit = number_of("SOFTNPU_MEMORY", 0);
    pthread_mutex_init(&device->faults.lock, NULL);
    device_flaws_init(&device->flaws);
    ondol_npu_status status = faults_from_environment(&device->faults, error);
    if (status != ONDOL_NPU_OK) {
        device_close(device);
        return status;
    }
    log_line(2, "softnpu 1.0: device opened");
    *out = device;
    return ONDOL_NPU_OK;
}

static ondol_npu_status device_info(ondol_npu_device *device, ondol_npu_device_info *info,
                                    ondol_npu_error *error) {
    if (device == NULL || !VALID(info, ondol_npu_device_info, rows)) {
        return fail(error, ONDOL_NPU_E_INVALID, "no device or no info, or one that is too small");
    }
    snprintf(info->vendor, sizeof info->vendor, "Ondol");
    snprintf(info->device, sizeof info->device, "softnpu");
    if (device->index > 0) {
        snprintf(info->device, sizeof info->device, "softnpu %" PRIu32, device->index);
    }
    snprintf(info->arch, sizeof info->arch, ARCH);
    snprintf(info->driver, sizeof info->driver, "softnpu 1.0");
    snprintf(info->firmware, sizeof info->firmware, "none");
    info->flags = ONDOL_NPU_DEVICE_EMULATED | ONDOL_NPU_DEVICE_STUB;
    if (has_now(&device->faults, FLAW_SAYS_HARDWARE)) {
        info->flags = 0;
    }
    info->mem_caps = ONDOL_NPU_MEM_HOST;
    info->mem_total = 0;
    info->mem_free = 0;
    info->activations = ONDOL_NPU_I8;
    info->n_quants = COUNT(QUANTS);
    info->quants = QUANTS;
    info->n_rows = COUNT(ROWS);
    info->rows = ROWS;
    if (ONDOL_NPU_HAS(info, ondol_npu_device_info, rounding)) {
        info->activation_group = GROUP;
        info->accumulator_bits = 32;
        info->rounding = ONDOL_NPU_ROUND_NEAREST_AWAY;
    }
    if (ONDOL_NPU_HAS(info, ondol_npu_device_info, mem_limit)) {
        info->mem_limit = device->mem_limit;
    }
    return ONDOL_NPU_OK;
}

static ondol_npu_status inject(ondol_npu_device *device, const char *fault, uint32_t after,
                               ondol_npu_error *error) {
    if (device == NULL || fault == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "no device or no fault");
    }
    return faults_inject(&device->faults, fault, after, error);
}

static ondol_npu_status reset(ondol_npu_device *device, ondol_npu_error *error) {
    if (device == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "no device");
    }
    faults_reset(&device->faults);
    return ONDOL_NPU_OK;
}

/* ---- graphs --------------------------------------------------------------------- */

static bool claims_valid(ondol_npu_claim *const *claims, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (!VALID(claims[i], ondol_npu_claim, reason)) {
            return false;
        }
    }
    return true;
}

static ondol_npu_status claim(ondol_npu_device *device, const ondol_npu_graph *graph,
                              ondol_npu_claim *const *claims, ondol_npu_error *error) {
    if (claims == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "nowhere to put the claims");
    }
    ondol_npu_program *program;
    ondol_npu_status status = graph_read(device, graph, &program, error);
    if (status != ONDOL_NPU_OK) {
        return status;
    }
    if (!claims_valid(claims, program->n_nodes)) {
        program_free(program);
        return fail(error, ONDOL_NPU_E_INVALID, "a claim is missing or too small");
    }
    bool refused = flaw_of_claim(program);
    for (uint32_t i = 0; i < program->n_nodes; i++) {
        char *reason = claims[i]->reason;
        size_t size = sizeof claims[i]->reason;
        snprintf(reason, size, "%s", refused ? "the host does it better" : "");
        claims[i]->claimed =
            !refused && node_supported(program, &program->nodes[i], reason, size);
    }
    program_free(program);
    return ONDOL_NPU_OK;
}

/* ---- buffers -------------------------------------------------------------------- */

/* What is wrong with the memory that the host wants to share; NULL is nothing. */
static const char *fault_of_mem(const ondol_npu_mem *memory) {
    uint64_t align = memory->align;
    if (memory->ptr == NULL || memory->size == 0) {
        return "the memory is empty";
    }
    if (align == 0 || (align & (align - 1)) != 0 || (uintptr_t)memory->ptr % align != 0) {
        return "the memory is not aligned as it says";
    }
    uint64_t room = UINTPTR_MAX - (uintptr_t)memory->ptr;
    if (memory->offset > room || memory->size > room - memory->offset) {
        return "the memory goes beyond the last address";
    }
    return NULL;
}

static ondol_npu_status buffer_import(ondol_npu_device *device, const ondol_npu_mem *memory,
                                      ondol_npu_buffer **out, ondol_npu_error *error) {
    if (device == NULL || out == NULL || !VALID(memory, ondol_npu_mem, align)) {
        return fail(error, ONDOL_NPU_E_INVALID, "buffer_import: an argument is missing");
    }
    if (memory->kind != ONDOL_NPU_MEM_HOST) {
        return fail(error, ONDOL_NPU_E_UNSUPPORTED, "memory of kind %" PRIu32, memory->kind);
    }
    const char *wrong = fault_of_mem(memory);
    if (wrong != NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "buffer_import: %s", wrong);
    }
    ondol_npu_buffer *buffer = NULL;
    if (!fault_of_memory(&device->faults)) {
        buffer = calloc(1, sizeof *buffer);
    }
    if (buffer == NULL) {
        return no_memory(error);
    }
    buffer->device = device;
    buffer->bytes = (uint8_t *)memory->ptr + memory->offset;
    buffer->size = memory->size;
    buffer->access = memory->access;
    *out = buffer;
    return ONDOL_NPU_OK;
}

static void buffer_release(ondol_npu_buffer *buffer) {
    if (buffer != NULL) {
        /* A session with a flaw may still write into the buffer: wait until it has. */
        pthread_mutex_lock(&buffer->device->flaws.delivery);
        pthread_mutex_unlock(&buffer->device->flaws.delivery);
        free(buffer);
    }
}

/* ---- the table ------------------------------------------------------------------ */

static const ondol_npu_api API = {
    .hdr = HEADER(ondol_npu_api),
    .name = "softnpu",
    .version = "1.0",
    .licence = "Apache-2.0 OR MIT",
    .init = init,
    .device_count = device_count,
    .device_open = device_open,
    .device_close = device_close,
    .device_info = device_info,
    .claim = claim,
    .compile = program_compile,
    .program_save = program_save,
    .program_load = program_load,
    .program_free = program_free,
    .session_new = session_new,
    .session_free = session_free,
    .buffer_import = buffer_import,
    .buffer_release = buffer_release,
    .submit = job_submit,
    .job_wait = job_wait,
    .job_cancel = job_cancel,
    .job_free = job_free,
    .inject = inject,
    .reset = reset,
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
