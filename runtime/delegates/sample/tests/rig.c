/* rig.c - a program in a session, with memory for its inputs and outputs. */
#include "test.h"

#include <math.h>

ondol_npu_device *open_device(void) {
    ondol_npu_device *device = NULL;
    CHECK(api->device_open(0, &device, NULL) == ONDOL_NPU_OK);
    return device;
}

ondol_npu_program *compile(ondol_npu_device *device, const model *m) {
    ondol_npu_program *program = NULL;
    ondol_npu_error error = {.hdr = HEADER(ondol_npu_error)};
    if (api->compile(device, &m->graph, &program, &error) != ONDOL_NPU_OK) {
        fprintf(stderr, "compile: %s\n", error.message);
        exit(1);
    }
    return program;
}

static void bind_value(rig *r, const ondol_npu_tensor *t) {
    uint64_t size = (uint64_t)t->rows * t->cols * 4;
    r->values[t->id] = calloc(1, size);
    ondol_npu_mem mem = {HEADER(ondol_npu_mem), ONDOL_NPU_MEM_HOST,
                         ONDOL_NPU_HOST_READ | ONDOL_NPU_HOST_WRITE | ONDOL_NPU_DEVICE_READ |
                             ONDOL_NPU_DEVICE_WRITE,
                         r->values[t->id], -1, 0, size, 16};
    CHECK(api->buffer_import(r->device, &mem, &r->buffers[t->id], NULL) == ONDOL_NPU_OK);
    uint32_t i = r->n_bindings++;
    r->bindings[i] = (ondol_npu_binding){HEADER(ondol_npu_binding), t->id, r->buffers[t->id], 0};
    r->binding_list[i] = &r->bindings[i];
}

void rig_init(rig *r, const model *m, ondol_npu_device *device, ondol_npu_program *program) {
    memset(r, 0, sizeof *r);
    r->model = m;
    r->device = device;
    r->program = program;
    CHECK(api->session_new(&program, 1, &r->session, NULL) == ONDOL_NPU_OK);
    for (uint32_t i = 0; i < m->graph.n_tensors; i++) {
        ondol_npu_role role = m->tensors[i].role;
        if (role == ONDOL_NPU_INPUT || role == ONDOL_NPU_OUTPUT) {
            bind_value(r, &m->tensors[i]);
        }
    }
    rig_randomize(r);
}

void rig_free(rig *r) {
    api->session_free(r->session);
    for (uint32_t i = 0; i < MAX; i++) {
        api->buffer_release(r->buffers[i]);
        free(r->values[i]);
    }
    api->program_free(r->program);
}

void rig_randomize(rig *r) {
    for (uint32_t i = 0; i < r->model->graph.n_tensors; i++) {
        const ondol_npu_tensor *t = &r->model->tensors[i];
        for (size_t j = 0; t->role == ONDOL_NPU_INPUT && j < (size_t)t->rows * t->cols; j++) {
            r->values[i][j] = random_float() * 4;
        }
    }
}

ondol_npu_status rig_submit(rig *r, uint64_t deadline_ns, ondol_npu_job **job) {
    return api->submit(r->session, 0, r->binding_list, r->n_bindings, deadline_ns, job, NULL);
}

ondol_npu_status outcome_of(ondol_npu_job *job, ondol_npu_error *error) {
    uint32_t ended = 0;
    ondol_npu_status status = api->job_wait(job, UINT64_MAX, &ended, NULL, error);
    CHECK(ended == 1);
    return status;
}

bool still_runs(ondol_npu_job *job, uint64_t timeout_ns) {
    uint32_t ended = 1;
    CHECK(api->job_wait(job, timeout_ns, &ended, NULL, NULL) == ONDOL_NPU_OK);
    return ended == 0;
}

ondol_npu_status rig_run(rig *r, uint64_t deadline_ns) {
    ondol_npu_job *job;
    ondol_npu_status status = rig_submit(r, deadline_ns, &job);
    if (status != ONDOL_NPU_OK) {
        return status;
    }
    status = outcome_of(job, NULL);
    api->job_free(job);
    return status;
}

size_t count_nan(const float *values, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += isnan(values[i]) != 0;
    }
    return count;
}

size_t count_different(const float *a, const float *b, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += memcmp(&a[i], &b[i], sizeof a[i]) != 0;
    }
    return count;
}
