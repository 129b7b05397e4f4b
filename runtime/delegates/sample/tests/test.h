/* test.h - what the tests share: graphs that are built node by node, and rigs to run them on. */
#ifndef TEST_H
#define TEST_H

#define _POSIX_C_SOURCE 200809L

#include "ondol_npu.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

#define HEADER(T) {sizeof(T), ONDOL_NPU_ABI_MAJOR, ONDOL_NPU_ABI_MINOR}
#define SECOND 1000000000ull

extern const ondol_npu_api *api;
extern ondol_npu_get_api_fn get_api;
extern char last_error[4096]; /* that the plug-in has logged */

enum { MAX = 16 };

/* ---- model.c: a graph with its weights ------------------------------------------ */

typedef struct model {
    ondol_npu_graph graph;
    ondol_npu_tensor tensors[MAX];
    ondol_npu_node nodes[MAX];
    const ondol_npu_tensor *tensor_list[MAX];
    const ondol_npu_node *node_list[MAX];
} model;

extern const ondol_npu_quant I4, I8, I8_ROW;

uint32_t random_u32(void);
float random_float(void); /* from -1 to 1 */

void model_init(model *m, uint32_t rows);
void model_free(model *m);
uint32_t add_value(model *m, ondol_npu_role role, uint32_t cols);
/* Filled with random numbers. */
uint32_t add_weight(model *m, const ondol_npu_quant *quant, uint32_t rows, uint32_t cols);
/* Unused inputs are given as 0. */
ondol_npu_node *add_node(model *m, ondol_npu_op op, uint32_t out, uint32_t n_in, uint32_t in0,
                         uint32_t in1, uint32_t in2);
/* A feed-forward block: norm, two matmuls, SiLU, a matmul, a sum. Tensor 0 is its input, 1 its
 * output. */
void block_init(model *m, uint32_t rows, uint32_t cols, uint32_t inner);

/* ---- oracle.c: the same in double precision --------------------------------------- */

/* Computes one row of a graph's last node from the inputs of that node, which are values or F32
 * weights; `error` gets how far off an F32 result may be, number by number. */
void oracle_row(const model *m, const float *in0, const float *in1, double *out, double *error);

/* ---- rig.c: a program in a session, with memory for its inputs and outputs ---------- */

typedef struct rig {
    const model *model;
    ondol_npu_device *device;
    ondol_npu_program *program;
    ondol_npu_session *session;
    float *values[MAX]; /* of the inputs and outputs */
    ondol_npu_buffer *buffers[MAX];
    ondol_npu_binding bindings[MAX];
    const ondol_npu_binding *binding_list[MAX];
    uint32_t n_bindings;
} rig;

ondol_npu_device *open_device(void);
ondol_npu_program *compile(ondol_npu_device *device, const model *m);
/* Takes over the program. Inputs are random. */
void rig_init(rig *r, const model *m, ondol_npu_device *device, ondol_npu_program *program);
void rig_free(rig *r);
void rig_randomize(rig *r);
ondol_npu_status rig_submit(rig *r, uint64_t deadline_ns, ondol_npu_job **job);
/* Waits for a job to end, however long; its outcome. */
ondol_npu_status outcome_of(ondol_npu_job *job, ondol_npu_error *error);
/* Whether a job has not ended after so long. */
bool still_runs(ondol_npu_job *job, uint64_t timeout_ns);
/* Submits, waits for the end and frees the job. */
ondol_npu_status rig_run(rig *r, uint64_t deadline_ns);
/* Numbers of the value that are NaN, or differ from `other`. */
size_t count_nan(const float *values, size_t n);
size_t count_different(const float *a, const float *b, size_t n);

/* ---- the tests ------------------------------------------------------------------------ */

void test_arithmetic(void); /* test_arithmetic.c */
void test_contract(void);   /* test_contract.c */
void test_blobs(void);      /* test_blobs.c */
void test_jobs(void);       /* test_jobs.c */
void test_faults(void);     /* test_faults.c */
void test_flaws(void);      /* test_flaws.c */

#endif
