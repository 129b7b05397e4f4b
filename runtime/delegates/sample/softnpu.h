/* softnpu.h - what the files of the sample plug-in share.
 *
 *   softnpu.c  the device, its buffers and the table of functions
 *   graph.c    reading and checking a graph, and which nodes the device takes
 *   weights.c  how the device keeps weights
 *   program.c  compiling: taking weights, planning memory
 *   blob.c     programs to bytes and back
 *   kernels.c  the arithmetic
 *   session.c  sessions and their worker threads
 *   job.c      submitting jobs and waiting for them
 *   faults.h   faults on purpose: faults.c, flaws_arithmetic.c, flaws_device.c
 */
#ifndef SOFTNPU_H
#define SOFTNPU_H

#define _POSIX_C_SOURCE 200809L /* for clock_gettime and pthread_condattr_setclock */

#include "faults.h"
#include "ondol_npu.h"

#include <pthread.h>
#include <stdbool.h>

#define ARCH "softnpu1"

enum {
    GROUP = 32, /* how many numbers along a row are multiplied and summed as integers */
    TILE = 8,   /* rows of a weight that are kept side by side, see kernels.c */
    MAX_TENSORS = 4096,
    MAX_NODES = 4096,
    MAX_INNER = 65536,   /* columns of a matmul's weight */
    MAX_SIDE = 1 << 20   /* rows or columns of anything */
};

/* Sizes of weights are computed in size_t from sides of at most MAX_SIDE. */
_Static_assert(sizeof(size_t) >= 8, "softnpu is for 64-bit machines");

/* Whether `p` is not NULL and its struct has the last field of version 1.0. */
#define VALID(p, T, last_field) ((p) != NULL && ONDOL_NPU_HAS(p, T, last_field))

/* ---- errors and the log, softnpu.c ---------------------------------------------- */

/* Fills in `error`, if there is one, and returns `code`. */
ondol_npu_status fail(ondol_npu_error *error, ondol_npu_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what may succeed later. */
ondol_npu_status fail_for_now(ondol_npu_error *error, ondol_npu_status code, const char *format,
                              ...) __attribute__((format(printf, 3, 4)));
ondol_npu_status no_memory(ondol_npu_error *error);
void log_line(int level, const char *message);

/* ---- the device and its memory, softnpu.c --------------------------------------- */

struct ondol_npu_device {
    uint32_t index;
    faults faults;
    device_flaws flaws;
    uint64_t mem_limit; /* of weights, in bytes; 0 is none */
    _Atomic(uint64_t) mem_used;
};

/* Takes memory for weights; false if the device has too little left. */
bool memory_take(ondol_npu_device *device, uint64_t bytes);

struct ondol_npu_buffer {
    ondol_npu_device *device;
    uint8_t *bytes;
    uint64_t size;
    uint32_t access;
};

/* Row counts that a graph can have. */
bool rows_allowed(uint32_t rows);

/* ---- programs, graph.c, weights.c and program.c --------------------------------- */

/* How the host stores a weight. */
typedef enum format {
    FORMAT_F32,
    FORMAT_I4,
    FORMAT_I8,
    FORMAT_I8_ROW, /* with one scale for a row */
    FORMAT_OTHER   /* one that this device has not */
} format;

typedef struct tensor {
    ondol_npu_role role;
    uint32_t rows;
    uint32_t cols;
    format format;   /* of a weight */
    int8_t *numbers; /* of a weight that is not F32: as kernels.c has it */
    float *floats;   /* of a weight: its scales, or the numbers of F32 */
    uint64_t place;  /* of a value: its offset in the workspace, in floats */
    uint32_t first;  /* of a value: the first and the last step that use it */
    uint32_t last;
} tensor;

typedef struct node {
    ondol_npu_op op;
    uint32_t n_in;
    uint32_t in[4];
    uint32_t out;
    float eps;
    uint32_t group;
    float factor;
} node;

/* A program never changes once it is made, so several sessions may run it at the same time. */
struct ondol_npu_program {
    ondol_npu_device *device;
    char name[64]; /* of its graph, shortened if it is too long */
    uint32_t rows;
    uint32_t n_tensors;
    uint32_t n_nodes;
    tensor *tensors;
    node *nodes;
    uint64_t value_floats; /* memory for values */
    uint64_t weight_bytes; /* memory of the device for weights */
    uint32_t max_inner;    /* the most columns of a matmul's weight */
};

/* Makes a program with room for so many tensors and nodes, all zero; NULL if there is no memory. */
ondol_npu_program *program_new(ondol_npu_device *device, uint32_t rows, uint32_t n_tensors,
                               uint32_t n_nodes);
void program_free(ondol_npu_program *program);

/* Reads the host's graph without the data of its weights, and checks it: INVALID if it is
 * broken. */
ondol_npu_status graph_read(ondol_npu_device *device, const ondol_npu_graph *graph,
                            ondol_npu_program **out, ondol_npu_error *error);
/* INVALID with a message if the tensors and nodes make no sense together. */
ondol_npu_status graph_check(const ondol_npu_program *program, const char *name,
                             ondol_npu_error *error);
/* Whether the device takes a node of a valid graph; if not, writes the reason. */
bool node_supported(const ondol_npu_program *program, const node *node, char *reason,
                    size_t reason_size);

/* Takes the device's memory for the weights of a program, which gives it back when it is freed. */
ondol_npu_status program_take_memory(ondol_npu_program *program, ondol_npu_error *error);

/* The bytes of a value in the host's memory. */
size_t value_bytes(const tensor *value);

/* Whether the device can store a weight. */
bool weight_storable(const tensor *weight);
/* How many numbers and floats a storable weight has in the device's layout. */
size_t weight_numbers(const tensor *weight);
size_t weight_floats(const tensor *weight);
/* The bytes of a storable weight as the host has it, scales included. */
uint64_t weight_bytes(const tensor *weight);
bool weight_alloc(tensor *weight);
/* Copies a weight of the host. */
ondol_npu_status weight_take(tensor *weight, const ondol_npu_tensor *from, uint32_t id,
                             ondol_npu_error *error);

ondol_npu_status program_compile(ondol_npu_device *device, const ondol_npu_graph *graph,
                                 ondol_npu_program **out, ondol_npu_error *error);
/* Gives every value its place. Says whether all fit into the device. */
bool program_plan(ondol_npu_program *program);

/* ---- blob.c --------------------------------------------------------------------- */

ondol_npu_status program_save(ondol_npu_program *program, void *blob, size_t *size,
                              ondol_npu_error *error);
ondol_npu_status program_load(ondol_npu_device *device, const void *blob, size_t size,
                              ondol_npu_program **out, ondol_npu_error *error);

/* ---- kernels.c ------------------------------------------------------------------ */

/* The memory that a session's jobs run in. */
typedef struct workspace {
    float *values;
    int16_t *rounded; /* the inputs of a matmul, rounded: values of int8 */
    float *scales;    /* their scales, one for a group */
    int16_t *tile;    /* a tile of a weight, widened */
} workspace;

bool workspace_new(workspace *space, ondol_npu_program *const *programs, uint32_t n);
void workspace_free(workspace *space);
void node_run(const ondol_npu_program *program, const node *node, workspace *space);

/* ---- session.c and job.c ------------------------------------------------------------
 *
 * A session's lock guards its queue, a job's lock the job's fields. A thread that needs both takes
 * the session's first. A job that has ended does not use its session, so it may be freed after
 * the session. */

struct ondol_npu_job {
    ondol_npu_session *session;
    const ondol_npu_program *program;
    ondol_npu_job *next;
    fault fault;
    uint64_t flaws;
    uint64_t deadline; /* on the clock of now_ns; 0 is none */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* one of the fields below */
    bool cancelled;
    bool ended;
    ondol_npu_status outcome;
    uint64_t exec_ns;
    uint8_t *bound[]; /* the host's memory for each tensor, NULL for those that are not bound */
};

struct ondol_npu_session {
    ondol_npu_device *device;
    uint32_t n_programs;
    ondol_npu_program **programs;
    workspace space;
    session_flaws flaws;
    pthread_t worker;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* one of the fields below */
    ondol_npu_job *first;   /* of the queue; the one that runs */
    bool closing;
};

ondol_npu_status session_new(ondol_npu_program *const *programs, uint32_t n,
                             ondol_npu_session **out, ondol_npu_error *error);
void session_free(ondol_npu_session *session);
/* Copies rows of a program's outputs to the host's memory. */
void write_rows(const ondol_npu_program *program, const float *values, uint8_t *const *bound,
                uint32_t first, uint32_t end);

ondol_npu_status job_submit(ondol_npu_session *session, uint32_t program,
                            const ondol_npu_binding *const *bindings, uint32_t n,
                            uint64_t deadline_ns, ondol_npu_job **out, ondol_npu_error *error);
ondol_npu_status job_wait(ondol_npu_job *job, uint64_t timeout_ns, uint32_t *ended,
                          ondol_npu_metrics *metrics, ondol_npu_error *error);
ondol_npu_status job_cancel(ondol_npu_job *job, ondol_npu_error *error);
void job_free(ondol_npu_job *job);

uint64_t now_ns(void);
/* `ns` after `start`, or as late as can be. */
uint64_t later(uint64_t start, uint64_t ns);
/* A condition that waits on the clock of now_ns. */
void cond_init(pthread_cond_t *cond);
/* Waits until a flag of a job is set; false if it is not by `until`. The job is locked. */
bool job_wait_for(ondol_npu_job *job, const bool *flag, uint64_t until);

#endif
