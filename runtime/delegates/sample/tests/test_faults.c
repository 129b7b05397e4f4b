/* test_faults.c - each fault does what it says. */
#include "test.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROWS = 16, COLS = 64, VALUES = ROWS * COLS };

static void inject(rig *r, const char *fault, uint32_t after) {
    CHECK(api->inject(r->device, fault, after, NULL) == ONDOL_NPU_OK);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static void submit_fails(rig *r, ondol_npu_status status, uint32_t flags) {
    ondol_npu_job *job;
    ondol_npu_error error = {.hdr = HEADER(ondol_npu_error)};
    CHECK(api->submit(r->session, 0, r->binding_list, r->n_bindings, 0, &job, &error) == status);
    CHECK(error.code == status && error.flags == flags);
}

static void no_memory(rig *r) {
    ondol_npu_program *program = NULL;
    ondol_npu_buffer *buffer = NULL;
    ondol_npu_mem mem = {HEADER(ondol_npu_mem), ONDOL_NPU_MEM_HOST, 15, r->values[0], -1, 0, 64, 4};
    uint8_t blob[100000];
    size_t size = sizeof blob;
    CHECK(api->program_save(r->program, blob, &size, NULL) == ONDOL_NPU_OK);
    inject(r, "no-memory", 0);
    CHECK(api->compile(r->device, &r->model->graph, &program, NULL) == ONDOL_NPU_E_NOMEM);
    api->program_free(compile(r->device, r->model));
    inject(r, "no-memory", 0);
    CHECK(api->program_load(r->device, blob, size, &program, NULL) == ONDOL_NPU_E_NOMEM);
    CHECK(api->program_load(r->device, blob, size, &program, NULL) == ONDOL_NPU_OK);
    api->program_free(program);
    inject(r, "no-memory", 1);
    CHECK(api->buffer_import(r->device, &mem, &buffer, NULL) == ONDOL_NPU_OK);
    api->buffer_release(buffer);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    CHECK(api->buffer_import(r->device, &mem, &buffer, NULL) == ONDOL_NPU_E_NOMEM);
}

static void refusals(rig *r) {
    inject(r, "busy", 2);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK && rig_run(r, 0) == ONDOL_NPU_OK);
    submit_fails(r, ONDOL_NPU_E_BUSY, ONDOL_NPU_ERROR_RETRYABLE);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    inject(r, "throttle", 0);
    for (int i = 0; i < 3; i++) {
        submit_fails(r, ONDOL_NPU_E_THERMAL, ONDOL_NPU_ERROR_RETRYABLE);
    }
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    inject(r, "throttle", 0);
    inject(r, "none", 0);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
}

static void device_lost(rig *r) {
    ondol_npu_job *job;
    ondol_npu_error error = {.hdr = HEADER(ondol_npu_error)};
    inject(r, "device-lost", 1);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    CHECK(rig_submit(r, 0, &job) == ONDOL_NPU_OK);
    CHECK(outcome_of(job, &error) == ONDOL_NPU_E_DEVICE_LOST);
    CHECK(error.flags == ONDOL_NPU_ERROR_NEEDS_RESET);
    api->job_free(job);
    submit_fails(r, ONDOL_NPU_E_DEVICE_LOST, ONDOL_NPU_ERROR_NEEDS_RESET);
    submit_fails(r, ONDOL_NPU_E_DEVICE_LOST, ONDOL_NPU_ERROR_NEEDS_RESET);
    inject(r, "none", 0);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    inject(r, "device-lost", 0);
    CHECK(rig_run(r, 0) == ONDOL_NPU_E_DEVICE_LOST);
    CHECK(api->reset(NULL, &error) == ONDOL_NPU_E_INVALID);
    CHECK(api->reset(r->device, NULL) == ONDOL_NPU_OK);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
}

static void hangs(rig *r) {
    ondol_npu_job *job;
    inject(r, "hang", 0);
    CHECK(rig_submit(r, SECOND / 100, &job) == ONDOL_NPU_OK);
    CHECK(still_runs(job, SECOND / 10));
    CHECK(api->job_cancel(job, NULL) == ONDOL_NPU_OK);
    CHECK(outcome_of(job, NULL) == ONDOL_NPU_E_CANCELLED);
    api->job_free(job);
    inject(r, "hang-hard", 0);
    CHECK(rig_submit(r, SECOND / 100, &job) == ONDOL_NPU_OK);
    CHECK(api->job_cancel(job, NULL) == ONDOL_NPU_OK);
    CHECK(still_runs(job, SECOND / 10));
    api->session_free(r->session);
    CHECK(outcome_of(job, NULL) == ONDOL_NPU_E_CANCELLED);
    api->job_free(job);
    CHECK(api->session_new(&r->program, 1, &r->session, NULL) == ONDOL_NPU_OK);
}

static void late(rig *r, uint64_t deadline) {
    ondol_npu_job *job;
    ondol_npu_error error = {.hdr = HEADER(ondol_npu_error)};
    inject(r, "late", 0);
    uint64_t start = now();
    CHECK(rig_submit(r, deadline, &job) == ONDOL_NPU_OK);
    CHECK(still_runs(job, deadline));
    CHECK(outcome_of(job, &error) == ONDOL_NPU_E_TIMEOUT && error.flags == 0);
    CHECK(now() - start >= deadline + 300000000);
    api->job_free(job);
}

static void not_a_number(rig *r) {
    inject(r, "nan", 0);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    CHECK(count_nan(r->values[1], COLS) == 1 && count_nan(r->values[1], VALUES) == 1);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    CHECK(count_nan(r->values[1], VALUES) == 0);
}

/* The one row that differs; it must do so in 5 % of its numbers. */
static size_t spoilt_row(const rig *r, const float *good) {
    size_t found = ROWS;
    for (size_t row = 0; row < ROWS; row++) {
        size_t n = count_different(r->values[1] + row * COLS, good + row * COLS, COLS);
        CHECK(n == 0 || (found == ROWS && n >= COLS / 20 && n <= COLS / 20 + 1));
        found = n > 0 ? row : found;
    }
    CHECK(found < ROWS);
    return found;
}

static void silent_corruption(rig *r) {
    float good[VALUES];
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    memcpy(good, r->values[1], sizeof good);
    inject(r, "silent-corruption", 0);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    size_t row = spoilt_row(r, good);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    CHECK(spoilt_row(r, good) != row);
    inject(r, "none", 0);
    CHECK(rig_run(r, 0) == ONDOL_NPU_OK);
    CHECK(count_different(r->values[1], good, VALUES) == 0);
}

static void crash(rig *r) {
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        inject(r, "crash", 0);
        ondol_npu_job *job;
        rig_submit(r, 0, &job);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

void test_faults(void) {
    ondol_npu_device *device = open_device();
    model m;
    block_init(&m, ROWS, COLS, 96);
    rig r;
    rig_init(&r, &m, device, compile(device, &m));
    no_memory(&r);
    refusals(&r);
    device_lost(&r);
    hangs(&r);
    late(&r, 0);
    late(&r, SECOND / 20);
    not_a_number(&r);
    silent_corruption(&r);
    crash(&r);
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
}
