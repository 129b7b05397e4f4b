/* job.c - jobs: binding and submitting them, waiting for them. */
#include "softnpu.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

/* ---- time and waiting ----------------------------------------------------------- */

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t later(uint64_t start, uint64_t ns) {
    return ns > INT64_MAX - start ? INT64_MAX : start + ns;
}

void cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool job_wait_for(ondol_npu_job *job, const bool *flag, uint64_t until) {
    struct timespec time = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    int result = 0;
    while (!*flag && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&job->changed, &job->lock, &time);
    }
    return *flag;
}

/* ---- submit --------------------------------------------------------------------- */

/* Keeps the memory of a binding in the job. Returns what is wrong with the binding, or NULL. */
static const char *bind(ondol_npu_job *job, const ondol_npu_binding *binding) {
    if (!VALID(binding, ondol_npu_binding, offset) || binding->buffer == NULL) {
        return "it is missing or too small a struct, or has no buffer";
    }
    const ondol_npu_buffer *buffer = binding->buffer;
    if (binding->tensor >= job->program->n_tensors) {
        return "its tensor is out of range";
    }
    const tensor *tensor = &job->program->tensors[binding->tensor];
    if (tensor->role != ONDOL_NPU_INPUT && tensor->role != ONDOL_NPU_OUTPUT) {
        return "its tensor is neither an input nor an output";
    }
    if (job->bound[binding->tensor] != NULL) {
        return "its tensor is bound already";
    }
    if (buffer->device != job->session->device) {
        return "its buffer is another device's";
    }
    bool reads = tensor->role == ONDOL_NPU_INPUT;
    if (!(buffer->access & (reads ? ONDOL_NPU_DEVICE_READ : ONDOL_NPU_DEVICE_WRITE))) {
        return "its buffer was not imported for that access";
    }
    if (binding->offset > buffer->size || value_bytes(tensor) > buffer->size - binding->offset) {
        return "it goes beyond its buffer";
    }
    job->bound[binding->tensor] = buffer->bytes + binding->offset;
    return NULL;
}

static ondol_npu_status bind_all(ondol_npu_job *job, const ondol_npu_binding *const *bindings,
                                 uint32_t n, ondol_npu_error *error) {
    const ondol_npu_program *program = job->program;
    for (uint32_t i = 0; i < n; i++) {
        const char *wrong = bind(job, bindings[i]);
        if (wrong != NULL) {
            return fail(error, ONDOL_NPU_E_INVALID, "binding %" PRIu32 ": %s", i, wrong);
        }
    }
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        ondol_npu_role role = program->tensors[i].role;
        bool needed = role == ONDOL_NPU_INPUT || role == ONDOL_NPU_OUTPUT;
        if (needed && job->bound[i] == NULL) {
            return fail(error, ONDOL_NPU_E_INVALID, "tensor %" PRIu32 " is not bound", i);
        }
    }
    return ONDOL_NPU_OK;
}

/* Refuses a submit that a fault has chosen; FAULT_CRASH does not return. */
static ondol_npu_status refuse(fault kind, ondol_npu_error *error) {
    switch (kind) {
    case FAULT_CRASH:
        abort();
    case FAULT_BUSY:
        return fail_for_now(error, ONDOL_NPU_E_BUSY, "the device is busy");
    case FAULT_THROTTLE:
        return fail_for_now(error, ONDOL_NPU_E_THERMAL, "the device is too hot");
    case FAULT_LOST_BEFORE:
        return fail(error, ONDOL_NPU_E_DEVICE_LOST, "the device was lost before");
    default:
        return ONDOL_NPU_OK;
    }
}

static void enqueue(ondol_npu_session *session, ondol_npu_job *job) {
    pthread_mutex_lock(&session->lock);
    ondol_npu_job **last = &session->first;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = job;
    pthread_cond_broadcast(&session->changed);
    pthread_mutex_unlock(&session->lock);
}

static ondol_npu_job *job_new(ondol_npu_session *session, const ondol_npu_program *program) {
    ondol_npu_job *job = calloc(1, sizeof *job + program->n_tensors * sizeof job->bound[0]);
    if (job != NULL) {
        job->session = session;
        job->program = program;
        pthread_mutex_init(&job->lock, NULL);
        cond_init(&job->changed);
    }
    return job;
}

static void job_discard(ondol_npu_job *job) {
    pthread_mutex_destroy(&job->lock);
    pthread_cond_destroy(&job->changed);
    free(job);
}

ondol_npu_status job_submit(ondol_npu_session *session, uint32_t program,
                            const ondol_npu_binding *const *bindings, uint32_t n,
                            uint64_t deadline_ns, ondol_npu_job **out, ondol_npu_error *error) {
    uint64_t start = now_ns();
    if (session == NULL || bindings == NULL || out == NULL || program >= session->n_programs) {
        return fail(error, ONDOL_NPU_E_INVALID, "submit: an argument is missing or out of range");
    }
    ondol_npu_job *job = job_new(session, session->programs[program]);
    if (job == NULL) {
        return no_memory(error);
    }
    job->deadline = deadline_ns != 0 ? later(start, deadline_ns) : 0;
    ondol_npu_status status = bind_all(job, bindings, n, error);
    if (status == ONDOL_NPU_OK) {
        job->fault = fault_of_submit(&session->device->faults, &job->flaws);
        status = refuse(job->fault, error);
    }
    if (status != ONDOL_NPU_OK) {
        job_discard(job);
        return status;
    }
    leak(session->device, job->flaws);
    *out = job; /* Written before the worker gets the job, which may end it at once. */
    enqueue(session, job);
    return ONDOL_NPU_OK;
}

/* ---- jobs ----------------------------------------------------------------------- */

static const char *text_of(ondol_npu_status outcome) {
    switch (outcome) {
    case ONDOL_NPU_E_TIMEOUT:
        return "the job was ended at its deadline";
    case ONDOL_NPU_E_CANCELLED:
        return "the job was cancelled";
    default:
        return "the device was lost";
    }
}

/* An emulated device has no temperature and uses no energy of its own: it measures only time. */
static void fill_metrics(ondol_npu_metrics *metrics, const ondol_npu_job *job, bool ended,
                         uint64_t exec_ns) {
    if (metrics == NULL) {
        return;
    }
    metrics->measured = ended ? ONDOL_NPU_MEASURED_TIME : 0;
    metrics->throttled = 0;
    metrics->exec_ns = exec_ns;
    metrics->energy_uj = 0;
    metrics->temperature_mc = 0;
    if (ended && has(job->flaws, FLAW_SAYS_HARDWARE)) {
        metrics->measured |= ONDOL_NPU_MEASURED_ENERGY | ONDOL_NPU_MEASURED_TEMPERATURE;
        metrics->energy_uj = 1;
        metrics->temperature_mc = 25000;
    }
}

ondol_npu_status job_wait(ondol_npu_job *job, uint64_t timeout_ns, uint32_t *ended,
                          ondol_npu_metrics *metrics, ondol_npu_error *error) {
    bool metrics_valid = metrics == NULL || VALID(metrics, ondol_npu_metrics, temperature_mc);
    if (job == NULL || ended == NULL || !metrics_valid) {
        return fail(error, ONDOL_NPU_E_INVALID, "no job, or nowhere to tell of it");
    }
    pthread_mutex_lock(&job->lock);
    *ended = job_wait_for(job, &job->ended, later(now_ns(), timeout_ns));
    ondol_npu_status outcome = *ended ? job->outcome : ONDOL_NPU_OK;
    uint64_t exec_ns = job->exec_ns;
    pthread_mutex_unlock(&job->lock);
    fill_metrics(metrics, job, *ended, exec_ns);
    return outcome == ONDOL_NPU_OK ? outcome : fail(error, outcome, "%s", text_of(outcome));
}

ondol_npu_status job_cancel(ondol_npu_job *job, ondol_npu_error *error) {
    if (job == NULL) {
        return fail(error, ONDOL_NPU_E_INVALID, "no job");
    }
    pthread_mutex_lock(&job->lock);
    job->cancelled = true;
    pthread_cond_broadcast(&job->changed);
    pthread_mutex_unlock(&job->lock);
    return ONDOL_NPU_OK;
}

void job_free(ondol_npu_job *job) {
    if (job == NULL) {
        return;
    }
    pthread_mutex_lock(&job->lock);
    bool ended = job->ended;
    pthread_mutex_unlock(&job->lock);
    if (!ended) {
        /* The worker still uses the job: a leak is better than a use after free. */
        log_line(0, "softnpu: job_free came before the job had ended; it is leaked");
        return;
    }
    job_discard(job);
}
