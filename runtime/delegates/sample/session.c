/* session.c - sessions and their worker threads.
 *
 * A session has a thread that plays the device: it runs the session's jobs one after the other.
 * A job copies its inputs into the session's workspace when it starts and its outputs back when
 * it has gone well, as a DMA engine would; in between it does not touch the host's memory. */
#include "softnpu.h"

#include <stdlib.h>
#include <string.h>

#define LATE_NS 300000000u /* how late FAULT_LATE is */

/* ---- running a job, on the worker ----------------------------------------------- */

/* The outcome with which a job must end now; OK if it may go on. */
static ondol_npu_status why_end(ondol_npu_job *job) {
    pthread_mutex_lock(&job->lock);
    bool cancelled = job->cancelled;
    pthread_mutex_unlock(&job->lock);
    if (cancelled) {
        return ONDOL_NPU_E_CANCELLED;
    }
    bool over = job->deadline != 0 && now_ns() >= job->deadline;
    return over ? ONDOL_NPU_E_TIMEOUT : ONDOL_NPU_OK;
}

static void copy_inputs(const ondol_npu_job *job, workspace *space) {
    for (uint32_t i = 0; i < job->program->n_tensors; i++) {
        const tensor *tensor = &job->program->tensors[i];
        if (tensor->role == ONDOL_NPU_INPUT) {
            memcpy(space->values + tensor->place, job->bound[i], value_bytes(tensor));
        }
    }
}

void write_rows(const ondol_npu_program *program, const float *values, uint8_t *const *bound,
                uint32_t first, uint32_t end) {
    for (uint32_t i = 0; i < program->n_tensors; i++) {
        const tensor *tensor = &program->tensors[i];
        if (tensor->role == ONDOL_NPU_OUTPUT) {
            size_t start = (size_t)first * tensor->cols, n = (size_t)(end - first) * tensor->cols;
            memcpy(bound[i] + start * sizeof *values, values + tensor->place + start,
                   n * sizeof *values);
        }
    }
}

static void spoil_outputs(const ondol_npu_job *job, workspace *space) {
    uint32_t seed = fault_seed(&job->session->device->faults);
    for (uint32_t i = 0; i < job->program->n_tensors; i++) {
        const tensor *tensor = &job->program->tensors[i];
        if (tensor->role == ONDOL_NPU_OUTPUT) {
            spoil(job->fault, seed, space->values + tensor->place, tensor->rows, tensor->cols);
        }
    }
}

static void copy_outputs(ondol_npu_job *job, workspace *space) {
    spoil_outputs(job, space);
    if (job->flaws != 0) {
        flaw_outputs(job);
        flawed_write(job);
    } else {
        write_rows(job->program, space->values, job->bound, 0, job->program->rows);
    }
}

static ondol_npu_status compute(ondol_npu_job *job) {
    const ondol_npu_program *program = job->program;
    workspace *space = &job->session->space;
    ondol_npu_status status = why_end(job);
    if (status != ONDOL_NPU_OK) {
        return status;
    }
    copy_inputs(job, space);
    if (job->flaws != 0) {
        flaw_inputs(job);
    }
    for (uint32_t i = 0; i < program->n_nodes && status == ONDOL_NPU_OK; i++) {
        if (job->flaws != 0) {
            flawed_node_run(job, &program->nodes[i]);
        } else {
            node_run(program, &program->nodes[i], space);
        }
        status = why_end(job);
    }
    if (status == ONDOL_NPU_OK) {
        copy_outputs(job, space);
    }
    return status;
}

static ondol_npu_status hang_until(ondol_npu_job *job, uint64_t until) {
    pthread_mutex_lock(&job->lock);
    bool cancelled = job_wait_for(job, &job->cancelled, until);
    pthread_mutex_unlock(&job->lock);
    return cancelled ? ONDOL_NPU_E_CANCELLED : ONDOL_NPU_E_TIMEOUT;
}

static ondol_npu_status hang_until_closing(ondol_npu_session *session) {
    pthread_mutex_lock(&session->lock);
    while (!session->closing) {
        pthread_cond_wait(&session->changed, &session->lock);
    }
    pthread_mutex_unlock(&session->lock);
    return ONDOL_NPU_E_CANCELLED;
}

static ondol_npu_status run(ondol_npu_job *job) {
    switch (job->fault) {
    case FAULT_DEVICE_LOST:
        return ONDOL_NPU_E_DEVICE_LOST;
    case FAULT_HANG:
        return hang_until(job, INT64_MAX);
    case FAULT_HANG_HARD:
        return hang_until_closing(job->session);
    case FAULT_LATE:
        return hang_until(job, later(job->deadline != 0 ? job->deadline : now_ns(), LATE_NS));
    default:
        return compute(job);
    }
}

/* ---- the worker ----------------------------------------------------------------- */

/* The next job, which stays in the queue; NULL when the session closes and none is left. */
static ondol_npu_job *next_job(ondol_npu_session *session) {
    pthread_mutex_lock(&session->lock);
    while (session->first == NULL && !session->closing) {
        pthread_cond_wait(&session->changed, &session->lock);
    }
    ondol_npu_job *job = session->first;
    pthread_mutex_unlock(&session->lock);
    return job;
}

/* Ends a job. It leaves the queue first, because the host may free it as soon as it has ended. */
static void end_job(ondol_npu_session *session, ondol_npu_job *job, ondol_npu_status outcome,
                    uint64_t exec_ns) {
    pthread_mutex_lock(&session->lock);
    session->first = job->next;
    pthread_mutex_unlock(&session->lock);
    pthread_mutex_lock(&job->lock);
    job->outcome = outcome;
    job->exec_ns = exec_ns;
    job->ended = true;
    pthread_cond_broadcast(&job->changed);
    pthread_mutex_unlock(&job->lock);
}

static void *work(void *argument) {
    ondol_npu_session *session = argument;
    ondol_npu_job *job;
    while ((job = next_job(session)) != NULL) {
        uint64_t start = now_ns();
        ondol_npu_status outcome = run(job);
        end_job(session, job, outcome, now_ns() - start);
        if (session->flaws.late != NULL) {
            write_late(session);
        }
    }
    return NULL;
}

/* ---- sessions ------------------------------------------------------------------- */

static bool programs_valid(ondol_npu_program *const *programs, uint32_t n) {
    if (programs == NULL || n == 0) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (programs[i] == NULL || programs[i]->device != programs[0]->device) {
            return false;
        }
    }
    return true;
}

static void session_discard(ondol_npu_session *session) {
    pthread_mutex_destroy(&session->lock);
    pthread_cond_destroy(&session->changed);
    workspace_free(&session->space);
    session_flaws_free(&session->flaws);
    free(session->programs);
    free(session);
}

ondol_npu_status session_new(ondol_npu_program *const *programs, uint32_t n,
                             ondol_npu_session **out, ondol_npu_error *error) {
    if (out == NULL || !programs_valid(programs, n)) {
        return fail(error, ONDOL_NPU_E_INVALID,
                    "session_new: no programs, or programs of several devices");
    }
    ondol_npu_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        return no_memory(error);
    }
    session->device = programs[0]->device;
    session->n_programs = n;
    session->programs = malloc(n * sizeof *session->programs);
    pthread_mutex_init(&session->lock, NULL);
    cond_init(&session->changed);
    bool ready = session->programs != NULL && workspace_new(&session->space, programs, n);
    if (ready) {
        memcpy(session->programs, programs, n * sizeof *session->programs);
        ready = pthread_create(&session->worker, NULL, work, session) == 0;
    }
    if (!ready) {
        session_discard(session);
        return no_memory(error);
    }
    *out = session;
    return ONDOL_NPU_OK;
}

void session_free(ondol_npu_session *session) {
    if (session == NULL) {
        return;
    }
    pthread_mutex_lock(&session->lock);
    session->closing = true;
    for (ondol_npu_job *job = session->first; job != NULL; job = job->next) {
        job_cancel(job, NULL);
    }
    pthread_cond_broadcast(&session->changed);
    pthread_mutex_unlock(&session->lock);
    pthread_join(session->worker, NULL);
    session_discard(session);
}
