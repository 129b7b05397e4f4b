/* faults.h - faults that are injected on purpose, to test a host.
 *
 *   faults.c            the names; when a fault strikes; what a submit then does wrong
 *   flaws_arithmetic.c  flaws of the arithmetic
 *   flaws_device.c      flaws of claims, programs, memory and delivery
 *
 * A flaw is a fault that stays. A submit has all flaws that are armed, and at most one other
 * fault. */
#ifndef FAULTS_H
#define FAULTS_H

#include "ondol_npu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef enum fault {
    FAULT_NONE,
    FAULT_NO_MEMORY,
    FAULT_CRASH, /* from here on in the order in which a submit checks them */
    FAULT_BUSY,
    FAULT_THROTTLE,
    FAULT_DEVICE_LOST,
    FAULT_HANG,
    FAULT_HANG_HARD,
    FAULT_LATE,
    FAULT_NAN,
    FAULT_SILENT,
    FLAW_DECODE_SIGN, /* from here on flaws; the table in faults.c says what each is */
    FLAW_ROWS_FROM_64,
    FLAW_ROW_OFF,
    FLAW_ELEMENT_OFF,
    FLAW_SATURATE_24,
    FLAW_SATURATE_22,
    FLAW_SATURATE_21,
    FLAW_TRUNCATES,
    FLAW_FLUSH_TINY,
    FLAW_TINY_SCALES,
    FLAW_SCALE_OF_NEXT_GROUP,
    FLAW_SWAPPED_NIBBLES,
    FLAW_LOSES_TAIL,
    FLAW_NO_BIAS,
    FLAW_NO_EPS,
    FLAW_WIDE_NORM,
    FLAW_NO_SOFTCAP,
    FLAW_STEPPED_ACTIVATION,
    FLAW_WEARS_OUT,
    FLAW_RARE_BIT_FLIP,
    FLAW_ORDER_MATTERS,
    FLAW_SESSIONS_COLLIDE,
    FLAW_CLAIMS_LITTLE,
    FLAW_SAYS_HARDWARE,
    FLAW_CACHED_BY_SHAPE,
    FLAW_OTHER_WEIGHTS,
    FLAW_LEAK_SUBMIT,
    FLAW_LEAK_VIRTUAL,
    FLAW_STALE_OUTPUT,
    FLAW_STALE_PADDING,
    FLAW_ENDS_EARLY,
    FLAW_ROW_LATE,
    FLAW_OVERRUN,
    FLAW_FORGETS,
    FAULT_COUNT,
    FAULT_LOST_BEFORE /* not a fault of its own: an earlier job has lost the device */
} fault;

/* ---- faults.c ----------------------------------------------------------------- */

typedef struct faults {
    pthread_mutex_t lock;
    struct {
        uint32_t after;   /* how many submits still go well */
        uint32_t times;   /* how many times it strikes after these */
        bool from_open;   /* armed by SOFTNPU_FAULT, so no inject changes it */
    } armed[FAULT_COUNT];
    bool lost;
    _Atomic bool was_reset;
    uint32_t jobs; /* how many jobs have gone well so far */
} faults;

/* Arms the faults that the variable SOFTNPU_FAULT names, for as long as the device is open. */
ondol_npu_status faults_from_environment(faults *faults, ondol_npu_error *error);
ondol_npu_status faults_inject(faults *faults, const char *name, uint32_t after,
                               ondol_npu_error *error);
/* Brings a lost device back; faults that are armed stay so. */
void faults_reset(faults *faults);
/* Whether an allocation of the device is to fail. */
bool fault_of_memory(faults *faults);
/* What is to go wrong with this submit; `flaws` gets a bit for each flaw. */
fault fault_of_submit(faults *faults, uint64_t *flaws);
/* Whether the device has a flaw now; for flaws that show outside of submits. */
bool has_now(faults *faults, fault flaw);
/* Whether a flaw is among those of a job. */
bool has(uint64_t flaws, fault flaw);
/* A number that differs from job to job. */
uint32_t fault_seed(faults *faults);
/* Spoils a result for FAULT_NAN and FAULT_SILENT; does nothing for other faults. */
void spoil(fault kind, uint32_t seed, float *values, uint32_t rows, uint32_t cols);

/* ---- flaws_arithmetic.c: called for jobs with flaws only ---------------------- */

struct node;
struct tensor;
/* Spoils the inputs in the session's workspace. */
void flaw_inputs(ondol_npu_job *job);
/* Runs a node in place of node_run. */
void flawed_node_run(ondol_npu_job *job, const struct node *node);
/* Spoils the outputs in the session's workspace. */
void flaw_outputs(ondol_npu_job *job);

/* ---- flaws_device.c ----------------------------------------------------------- */

/* The state of a device's flaws. */
typedef struct device_flaws {
    pthread_mutex_t lock; /* guards the two lists */
    struct leaked *leaked;
    struct remembered *programs;
    pthread_mutex_t delivery; /* held while an ended job's outputs are still to be written */
    _Atomic(const ondol_npu_program *) scratch; /* the program that uses the shared memory */
} device_flaws;

/* The state of a session's flaws. Only the session's worker uses it. */
typedef struct session_flaws {
    struct kept *kept;               /* inputs and outputs of earlier calls */
    struct late *late;               /* what is still to be written for an ended job */
    const ondol_npu_program *before; /* the program that ran last */
    bool padded;                     /* the job that runs has rows of padding */
} session_flaws;

void device_flaws_init(device_flaws *flaws);
void device_flaws_free(device_flaws *flaws);
void session_flaws_free(session_flaws *flaws);

/* The first layer in the name of a program's graph, "layer 2" or "layers 2 to 3"; -1 if none. */
long first_layer(const ondol_npu_program *program);
/* Whether a flaw makes the device refuse a graph. */
bool flaw_of_claim(const ondol_npu_program *program);
/* Gives a new program the weights of an earlier one if the device has that flaw. */
void mix_up_weights(ondol_npu_program *program, fault flaw);
/* Replaces a weight's arrays by copies; false if there is no memory. */
bool weight_copy(struct tensor *weight);
/* Leaks memory for one submit, if the device has such a flaw. */
void leak(ondol_npu_device *device, uint64_t flaws);

/* For FLAW_STALE_PADDING: fills in rows of padding, and later adds them to the first row. */
void keep_padding(ondol_npu_job *job);
void add_padding(ondol_npu_job *job);
/* Exchanges the last output with that of the call before. */
void exchange_output(ondol_npu_job *job);
/* Writes a job's outputs to the host's memory, instead of write_rows: perhaps too much, or not
 * all. write_late writes the rest once the job has ended. */
void flawed_write(ondol_npu_job *job);
void write_late(ondol_npu_session *session);

#endif
