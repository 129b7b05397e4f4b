/* test_jobs.c - bindings, deadlines, cancelling, many devices, and threads. */
#include "test.h"

#include <pthread.h>

static ondol_npu_status submit_status(rig *r) {
    ondol_npu_job *job;
    ondol_npu_error error = {.hdr = HEADER(ondol_npu_error)};
    ondol_npu_status status =
        api->submit(r->session, 0, r->binding_list, r->n_bindings, 0, &job, &error);
    CHECK(status == error.code);
    return status;
}

static void broken_bindings(rig *r, ondol_npu_device *other) {
    rig good = *r, foreign;
#define BROKEN(change)                             \
    change;                                        \
    CHECK(submit_status(r) == ONDOL_NPU_E_INVALID); \
    memcpy(r->bindings, good.bindings, sizeof good.bindings); \
    memcpy(r->binding_list, good.binding_list, sizeof good.binding_list); \
    r->n_bindings = good.n_bindings
    BROKEN(r->n_bindings = 1);
    BROKEN(r->n_bindings = 0);
    BROKEN(r->binding_list[1] = r->binding_list[0]);
    BROKEN(r->binding_list[1] = NULL);
    BROKEN(r->bindings[0].tensor = 2);
    BROKEN(r->bindings[0].tensor = 1000);
    BROKEN(r->bindings[0].buffer = NULL);
    BROKEN(r->bindings[0].offset = 4);
    BROKEN(r->bindings[0].offset = UINT64_MAX);
    BROKEN(r->bindings[0].offset = UINT64_MAX - 8);
    BROKEN(r->bindings[0].hdr.struct_size = 12);
    rig_init(&foreign, r->model, other, compile(other, r->model));
    BROKEN(r->bindings[0].buffer = foreign.bindings[0].buffer);
#undef BROKEN
    ondol_npu_program *mixed[] = {r->program, foreign.program};
    ondol_npu_session *session;
    CHECK(api->session_new(mixed, 2, &session, NULL) == ONDOL_NPU_E_INVALID);
    rig_free(&foreign);
    ondol_npu_job *job;
    CHECK(api->submit(r->session, 1, r->binding_list, r->n_bindings, 0, &job, NULL) ==
          ONDOL_NPU_E_INVALID);
}

static void measured(rig *r) {
    ondol_npu_job *job;
    uint32_t ended;
    ondol_npu_metrics metrics = {.hdr = HEADER(ondol_npu_metrics)};
    CHECK(rig_submit(r, 0, &job) == ONDOL_NPU_OK);
    metrics.hdr.struct_size = 24;
    CHECK(api->job_wait(job, UINT64_MAX, &ended, &metrics, NULL) == ONDOL_NPU_E_INVALID);
    metrics.hdr.struct_size = sizeof metrics;
    CHECK(api->job_wait(job, UINT64_MAX, &ended, &metrics, NULL) == ONDOL_NPU_OK && ended == 1);
    CHECK(metrics.measured == ONDOL_NPU_MEASURED_TIME && metrics.exec_ns > 0);
    CHECK(outcome_of(job, NULL) == ONDOL_NPU_OK);
    CHECK(api->job_cancel(job, NULL) == ONDOL_NPU_OK);
    CHECK(outcome_of(job, NULL) == ONDOL_NPU_OK);
    api->job_free(job);
}

/* A job that does not go well leaves its outputs alone. */
static void deadlines(rig *r) {
    ondol_npu_job *first, *second;
    r->values[1][0] = 42;
    CHECK(rig_run(r, 1) == ONDOL_NPU_E_TIMEOUT);
    CHECK(r->values[1][0] == 42);
    CHECK(api->inject(r->device, "hang", 0, NULL) == ONDOL_NPU_OK);
    CHECK(rig_submit(r, 0, &first) == ONDOL_NPU_OK && rig_submit(r, 0, &second) == ONDOL_NPU_OK);
    CHECK(api->job_cancel(second, NULL) == ONDOL_NPU_OK);
    CHECK(api->job_cancel(first, NULL) == ONDOL_NPU_OK);
    CHECK(outcome_of(first, NULL) == ONDOL_NPU_E_CANCELLED);
    CHECK(outcome_of(second, NULL) == ONDOL_NPU_E_CANCELLED);
    CHECK(r->values[1][0] == 42);
    api->job_free(first);
    api->job_free(second);
    CHECK(rig_run(r, 100 * SECOND) == ONDOL_NPU_OK);
    CHECK(r->values[1][0] != 42);
}

/* A deadline that passes while the job runs, which takes far longer. */
static void deadline_within(ondol_npu_device *device) {
    model m;
    rig r;
    block_init(&m, 256, 576, 1536);
    rig_init(&r, &m, device, compile(device, &m));
    CHECK(rig_run(&r, SECOND / 500) == ONDOL_NPU_E_TIMEOUT);
    for (size_t i = 0; i < 256 * 576; i++) {
        CHECK(r.values[1][i] == 0);
    }
    rig_free(&r);
    model_free(&m);
}

/* Jobs of a session that is freed are cancelled, and can be asked and freed after it. */
static void freed_session(rig *r) {
    ondol_npu_job *jobs[3];
    CHECK(api->inject(r->device, "hang", 0, NULL) == ONDOL_NPU_OK);
    for (int i = 0; i < 3; i++) {
        CHECK(rig_submit(r, 0, &jobs[i]) == ONDOL_NPU_OK);
    }
    api->session_free(r->session);
    for (int i = 0; i < 3; i++) {
        CHECK(outcome_of(jobs[i], NULL) == ONDOL_NPU_E_CANCELLED);
        api->job_free(jobs[i]);
    }
    CHECK(api->session_new(&r->program, 1, &r->session, NULL) == ONDOL_NPU_OK);
}

static void open_and_close(const model *m) {
    for (int i = 0; i < 1000; i++) {
        ondol_npu_device *device = open_device();
        ondol_npu_program *program = compile(device, m);
        ondol_npu_session *session;
        CHECK(api->session_new(&program, 1, &session, NULL) == ONDOL_NPU_OK);
        api->session_free(session);
        api->program_free(program);
        api->device_close(device);
    }
}

/* Two threads run two sessions each of one and the same program. */
static void *run_often(void *argument) {
    rig *r = argument;
    for (int i = 0; i < 200; i++) {
        CHECK(rig_run(&r[0], 0) == ONDOL_NPU_OK && rig_run(&r[1], 0) == ONDOL_NPU_OK);
        CHECK(count_different(r[0].values[1], r[1].values[1], 16 * 32) == 0);
    }
    return NULL;
}

static void threads(ondol_npu_device *device, const model *m) {
    rig rigs[4];
    pthread_t other;
    ondol_npu_program *program = compile(device, m);
    for (int i = 0; i < 4; i++) {
        rig_init(&rigs[i], m, device, program);
        memcpy(rigs[i].values[0], rigs[i / 2 * 2].values[0], 16 * 32 * sizeof(float));
    }
    CHECK(pthread_create(&other, NULL, run_often, &rigs[2]) == 0);
    run_often(&rigs[0]);
    pthread_join(other, NULL);
    for (int i = 0; i < 4; i++) {
        rigs[i].program = i == 3 ? program : NULL; /* It is freed with the last one. */
        rig_free(&rigs[i]);
    }
}

void test_jobs(void) {
    ondol_npu_device *device = open_device(), *other = open_device();
    model m;
    block_init(&m, 16, 32, 64);
    rig r;
    rig_init(&r, &m, device, compile(device, &m));
    broken_bindings(&r, other);
    measured(&r);
    deadlines(&r);
    deadline_within(device);
    freed_session(&r);
    threads(device, &m);
    open_and_close(&m);
    rig_free(&r);
    model_free(&m);
    api->device_close(device);
    api->device_close(other);
}
