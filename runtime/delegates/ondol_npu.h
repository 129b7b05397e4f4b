/* ondol_npu.h - the C ABI between Ondol (the host) and the plug-in of an NPU, version 1.1.
 *
 * For C11 and C++17. A plug-in is a shared library that exports one symbol,
 * `ondol_npu_get_api`. docs/add-a-delegate.md explains how to write one;
 * runtime/delegates/sample is a complete one to start from.
 *
 * Order of calls: get_api -> init -> device_open -> device_info -> claim (which nodes
 * of a graph the device takes) -> compile, or program_load with the bytes that an
 * earlier program_save wrote -> session_new with programs -> buffer_import -> for each
 * call submit, job_wait, job_free -> everything is freed in the reverse order.
 *
 * Rules
 * - Every struct begins with ondol_npu_hdr. The side that makes a struct fills the
 *   header in. The side that reads a field which a later minor version appended
 *   tests ONDOL_NPU_HAS first. Arrays of structs are arrays of pointers, so that
 *   structs can grow.
 * - Both sides must have the same major version. A minor version only appends fields.
 * - Arguments live only during the call: a plug-in copies what it keeps. There are
 *   two exceptions: the memory of an imported buffer lives until buffer_release, and
 *   ondol_npu_host lives until the process ends.
 * - `error` may be NULL. Otherwise it points to a struct of the host, and the plug-in
 *   fills it in if the call fails. No function allocates for it.
 * - No exception, longjmp or panic passes the boundary.
 * - Functions may be called from any thread, and at the same time for different
 *   devices, programs and sessions. One session is used by one thread at a time.
 * - *_free, *_close and *_release accept NULL and then do nothing.
 */
#ifndef ONDOL_NPU_H
#define ONDOL_NPU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ONDOL_NPU_ABI_MAJOR 1u
#define ONDOL_NPU_ABI_MINOR 1u

typedef struct ondol_npu_hdr {
    uint32_t struct_size; /* sizeof the struct in the version of its maker */
    uint16_t abi_major;
    uint16_t abi_minor;
} ondol_npu_hdr;

/* Whether the struct that `p` points to, of type T, has the field f. */
#define ONDOL_NPU_HAS(p, T, f) ((p)->hdr.struct_size >= offsetof(T, f) + sizeof(((T *)0)->f))

/* ---- errors ------------------------------------------------------------------ */

typedef int32_t ondol_npu_status;
enum {
    ONDOL_NPU_OK = 0,
    ONDOL_NPU_E_INVALID = 1,      /* an argument is wrong: a bug of the caller */
    ONDOL_NPU_E_UNSUPPORTED = 2,  /* valid, but this device can't do it */
    ONDOL_NPU_E_NOMEM = 3,
    ONDOL_NPU_E_DEVICE_LOST = 4,  /* removed, or must be reset */
    ONDOL_NPU_E_TIMEOUT = 5,      /* not done in time; the job may still run */
    ONDOL_NPU_E_CANCELLED = 6,
    ONDOL_NPU_E_INCOMPATIBLE = 7, /* the blob is from another device, driver or compiler */
    ONDOL_NPU_E_CORRUPT = 8,      /* the blob is damaged */
    ONDOL_NPU_E_BUSY = 9,
    ONDOL_NPU_E_THERMAL = 10,     /* the device is too hot */
    ONDOL_NPU_E_PERMISSION = 11,
    ONDOL_NPU_E_INTERNAL = 12
};

enum {
    ONDOL_NPU_ERROR_RETRYABLE = 1, /* the same call may succeed later */
    ONDOL_NPU_ERROR_NEEDS_RESET = 2
};

typedef struct ondol_npu_error {
    ondol_npu_hdr hdr;
    ondol_npu_status code;
    int32_t vendor_code; /* the driver's own code; 0 if it has none */
    uint32_t flags;      /* ONDOL_NPU_ERROR_* */
    char message[236];   /* UTF-8, ends in zero */
} ondol_npu_error;

/* ---- numbers ----------------------------------------------------------------- */

typedef uint32_t ondol_npu_dtype;
enum {
    ONDOL_NPU_F32 = 1,
    ONDOL_NPU_F16 = 2,
    ONDOL_NPU_BF16 = 3,
    ONDOL_NPU_I8 = 4,  /* -127 to 127; -128 does not occur */
    ONDOL_NPU_I4 = 5,  /* -8 to 7, two's complement; two in a byte, the first in the low bits */
    ONDOL_NPU_I16 = 6
};

/* Subnormal values and scales are computed like any others, not taken as zero. */

/* One scale for a whole row of a weight ("per channel"). */
#define ONDOL_NPU_GROUP_ROW UINT32_MAX

/* How a weight is stored: value = stored number * the scale of its group. Symmetric. */
typedef struct ondol_npu_quant {
    ondol_npu_hdr hdr;
    ondol_npu_dtype store;      /* F32 and F16 (no scales), I8 or I4 */
    uint32_t group;             /* neighbours in a row that share a scale, or ONDOL_NPU_GROUP_ROW;
                                   0 if there are no scales */
    ondol_npu_dtype scale_type; /* F16 or F32; 0 if there are no scales */
} ondol_npu_quant;

/* ---- memory ------------------------------------------------------------------ */

typedef uint32_t ondol_npu_mem_kind;
enum {
    ONDOL_NPU_MEM_HOST = 1, /* at `ptr`; every device supports it */
    ONDOL_NPU_MEM_DMABUF = 2,
    ONDOL_NPU_MEM_AHARDWAREBUFFER = 4,
    ONDOL_NPU_MEM_ION = 8,
    ONDOL_NPU_MEM_FASTRPC = 16,
    ONDOL_NPU_MEM_DEVICE = 32
};

enum {
    ONDOL_NPU_HOST_READ = 1,
    ONDOL_NPU_HOST_WRITE = 2,
    ONDOL_NPU_DEVICE_READ = 4,
    ONDOL_NPU_DEVICE_WRITE = 8
};

typedef struct ondol_npu_mem {
    ondol_npu_hdr hdr;
    ondol_npu_mem_kind kind;
    uint32_t access; /* ONDOL_NPU_HOST_*, ONDOL_NPU_DEVICE_*: inputs are read, outputs written */
    void *ptr;       /* for HOST; aligned to `align` */
    int64_t fd;      /* for kinds that have one, otherwise -1 */
    uint64_t offset; /* of the first byte, from `ptr` or the start of `fd` */
    uint64_t size;   /* bytes from there */
    uint64_t align;  /* a power of two */
} ondol_npu_mem;

typedef struct ondol_npu_device ondol_npu_device;
typedef struct ondol_npu_program ondol_npu_program;
typedef struct ondol_npu_session ondol_npu_session;
typedef struct ondol_npu_buffer ondol_npu_buffer;
typedef struct ondol_npu_job ondol_npu_job;

/* ---- a graph: one pass of a part of a model, of static shape -------------------- */

typedef uint32_t ondol_npu_role;
enum {
    ONDOL_NPU_INTERMEDIATE = 0,
    ONDOL_NPU_INPUT = 1,
    ONDOL_NPU_OUTPUT = 2, /* nodes of the graph may read it too */
    ONDOL_NPU_WEIGHT = 3
};

/* A row-major tensor of rows x cols. Values (all tensors except weights) are F32 and
 * have as many rows as the graph. A vector has one row. */
typedef struct ondol_npu_tensor {
    ondol_npu_hdr hdr;
    uint32_t id; /* its index in the graph */
    ondol_npu_role role;
    uint32_t rows;
    uint32_t cols;
    const ondol_npu_quant *quant; /* for a weight; NULL is F32 */
    const void *data;             /* for a weight: its numbers; each row begins at a whole byte */
    uint64_t data_size;           /* bytes, exactly */
    const void *scales;           /* for a weight with scales: rows x groups in a row */
    uint64_t scales_size;         /* bytes, exactly */
} ondol_npu_tensor;

typedef uint32_t ondol_npu_op;
enum {
    /* out[m][n] = sum over k of in0[m][k] * in1[n][k] (+ in2[n], if there is an in2) */
    ONDOL_NPU_MATMUL = 1,
    /* Each group of `group` neighbouring numbers of a row, divided by the square root of
     * (its mean square + eps), times in1, a vector of `group`, if there is an in1 */
    ONDOL_NPU_RMSNORM = 2,
    ONDOL_NPU_ADD = 3,       /* in0 + in1, both values */
    ONDOL_NPU_SCALE = 4,     /* in0 * factor */
    ONDOL_NPU_SILU_MUL = 5,  /* in0 / (1 + e^-in0) * in1 */
    ONDOL_NPU_GELU_MUL = 6,  /* gelu(in0) * in1, with the tanh form of gelu */
    ONDOL_NPU_SOFTCAP = 7    /* factor * tanh(in0 / factor) */
};

typedef struct ondol_npu_node {
    ondol_npu_hdr hdr;
    ondol_npu_op op;
    uint32_t n_in;
    uint32_t in[4]; /* ids of tensors */
    uint32_t out;   /* id of a tensor */
    float eps;      /* for RMSNORM */
    uint32_t group; /* for RMSNORM: divides the columns of in0 */
    float factor;   /* for SCALE and SOFTCAP */
} ondol_npu_node;

typedef struct ondol_npu_graph {
    ondol_npu_hdr hdr;
    const char *name; /* for messages: "layer 3" */
    uint32_t rows;    /* rows (tokens) of one call; fixed */
    uint32_t n_tensors;
    uint32_t n_nodes;
    const ondol_npu_tensor *const *tensors;
    const ondol_npu_node *const *nodes; /* in order of execution */
} ondol_npu_graph;

/* ---- description of a device --------------------------------------------------- */

enum {
    ONDOL_NPU_DEVICE_EMULATED = 1, /* an emulator: its times are not a measure of performance */
    ONDOL_NPU_DEVICE_STUB = 2      /* a stub that was made to test this contract */
};

/* How a matmul rounds its inputs to the type of the activations. */
enum {
    ONDOL_NPU_ROUND_NEAREST_EVEN = 1, /* a number in the middle of two: to the even one */
    ONDOL_NPU_ROUND_NEAREST_AWAY = 2, /* a number in the middle of two: to the larger magnitude */
    ONDOL_NPU_ROUND_TOWARD_ZERO = 3
};

typedef struct ondol_npu_device_info {
    ondol_npu_hdr hdr;
    char vendor[64]; /* this and the next four: UTF-8, ending in zero */
    char device[64];
    char arch[32];
    char driver[64];
    char firmware[64];
    uint32_t flags;    /* ONDOL_NPU_DEVICE_* */
    uint32_t mem_caps; /* ONDOL_NPU_MEM_*; must include HOST */
    uint64_t mem_total; /* bytes; 0 if unknown */
    uint64_t mem_free;
    ondol_npu_dtype activations; /* type of a matmul's rounded inputs: F32, F16, BF16, I16, I8 */
    uint32_t n_quants;           /* forms of weights that the device takes */
    const ondol_npu_quant *const *quants; /* live as long as the device */
    uint32_t n_rows;      /* the numbers of rows that graphs can have, ascending */
    const uint32_t *rows; /* live as long as the device */
    /* Since version 1.1, more about a matmul's arithmetic. 0 is "not said" for each. */
    uint32_t activation_group; /* for integer activations: neighbours in a row of inputs that share
                                  a scale, or ONDOL_NPU_GROUP_ROW, which the host takes for 0 */
    uint32_t accumulator_bits; /* significant bits of sums, which the host takes for 32 with integer
                                  activations and for 24 with floats if it is 0. Sums of integers
                                  saturate at them, sums of floats are rounded to them */
    uint32_t rounding;         /* ONDOL_NPU_ROUND_*; the host takes NEAREST_EVEN for 0 */
} ondol_npu_device_info;

typedef struct ondol_npu_claim {
    ondol_npu_hdr hdr;
    uint32_t claimed; /* 0 or 1 */
    char reason[120]; /* if not claimed, the reason; UTF-8, ends in zero */
} ondol_npu_claim;

enum {
    ONDOL_NPU_MEASURED_TIME = 1,
    ONDOL_NPU_MEASURED_ENERGY = 2,
    ONDOL_NPU_MEASURED_TEMPERATURE = 4,
    ONDOL_NPU_MEASURED_THROTTLING = 8
};

typedef struct ondol_npu_metrics {
    ondol_npu_hdr hdr;
    uint32_t measured; /* ONDOL_NPU_MEASURED_*: which of the fields below are valid */
    uint32_t throttled;
    uint64_t exec_ns;
    uint64_t energy_uj;
    int32_t temperature_mc; /* thousandths of a degree Celsius */
} ondol_npu_metrics;

typedef struct ondol_npu_binding {
    ondol_npu_hdr hdr;
    uint32_t tensor; /* id of an input or output */
    ondol_npu_buffer *buffer;
    uint64_t offset; /* bytes; the tensor's rows * cols * 4 bytes begin there */
} ondol_npu_binding;

/* ---- the two tables ------------------------------------------------------------- */

/* Functions of the host. They may be called from any thread. */
typedef struct ondol_npu_host {
    ondol_npu_hdr hdr;
    void *context;                                              /* the first argument of `log` */
    void (*log)(void *context, int level, const char *message); /* 0 error, 1 warning, 2 info */
} ondol_npu_host;

typedef struct ondol_npu_api {
    ondol_npu_hdr hdr;
    const char *name;    /* of the plug-in; UTF-8, like the next two */
    const char *version;
    const char *licence; /* SPDX */

    /* Called first; called again by any other host in the same process. */
    ondol_npu_status (*init)(const ondol_npu_host *host, ondol_npu_error *error);
    uint32_t (*device_count)(void);
    ondol_npu_status (*device_open)(uint32_t index, ondol_npu_device **out, ondol_npu_error *error);
    void (*device_close)(ondol_npu_device *device);
    /* Fills in `info`, whose header the host has set. */
    ondol_npu_status (*device_info)(ondol_npu_device *device, ondol_npu_device_info *info,
                                    ondol_npu_error *error);

    /* Says for each node whether the device takes it. The graph's weights have no data yet. */
    ondol_npu_status (*claim)(ondol_npu_device *device, const ondol_npu_graph *graph,
                              ondol_npu_claim *const *claims, ondol_npu_error *error);
    /* May be slow. */
    ondol_npu_status (*compile)(ondol_npu_device *device, const ondol_npu_graph *graph,
                                ondol_npu_program **out, ondol_npu_error *error);
    /* Writes a program into `blob`. *size is the capacity before the call and the length after
     * it. If blob is NULL, only writes the length. */
    ondol_npu_status (*program_save)(ondol_npu_program *program, void *blob, size_t *size,
                                     ondol_npu_error *error);
    /* Must not crash on any bytes: returns INCOMPATIBLE or CORRUPT. */
    ondol_npu_status (*program_load)(ondol_npu_device *device, const void *blob, size_t size,
                                     ondol_npu_program **out, ondol_npu_error *error);
    void (*program_free)(ondol_npu_program *program);

    /* Makes a session of programs that run one after another. The programs outlive it. */
    ondol_npu_status (*session_new)(ondol_npu_program *const *programs, uint32_t n,
                                    ondol_npu_session **out, ondol_npu_error *error);
    /* Ends all running jobs, however long that takes: afterwards nothing uses their buffers. The
     * host frees jobs after this call, or before it if they have ended. */
    void (*session_free)(ondol_npu_session *session);

    ondol_npu_status (*buffer_import)(ondol_npu_device *device, const ondol_npu_mem *memory,
                                      ondol_npu_buffer **out, ondol_npu_error *error);
    void (*buffer_release)(ondol_npu_buffer *buffer);

    /* Starts a program. Every input and output of its graph is bound. The device should give
     * up when `deadline_ns` have passed since this call; 0 is no deadline. */
    ondol_npu_status (*submit)(ondol_npu_session *session, uint32_t program,
                               const ondol_npu_binding *const *bindings, uint32_t n,
                               uint64_t deadline_ns, ondol_npu_job **out, ondol_npu_error *error);
    /* Waits for a job to end, for `timeout_ns` at most. If it has ended, *ended is 1 and the
     * status is its outcome. Otherwise *ended is 0 and the status is OK: the job still uses its
     * buffers, and may be waited for again. `metrics` may be NULL, and is valid only if the
     * outcome is OK. */
    ondol_npu_status (*job_wait)(ondol_npu_job *job, uint64_t timeout_ns, uint32_t *ended,
                                 ondol_npu_metrics *metrics, ondol_npu_error *error);
    /* Asks a job to end soon, with CANCELLED. job_wait reports when it has ended. */
    ondol_npu_status (*job_cancel)(ondol_npu_job *job, ondol_npu_error *error);
    /* Called after job_wait has returned an outcome, or after the session is freed. */
    void (*job_free)(ondol_npu_job *job);

    /* Optional (may be NULL), for test builds. Makes the call of submit that comes `after` this
     * many others (0: the next one), or another call, fail as the fault says. Faults are listed
     * in docs/add-a-delegate.md; "none" ends all. UNSUPPORTED for an unknown fault. */
    ondol_npu_status (*inject)(ondol_npu_device *device, const char *fault, uint32_t after,
                               ondol_npu_error *error);
} ondol_npu_api;

/* The exported symbol `ondol_npu_get_api`. The table lives until the process ends. Returns
 * INCOMPATIBLE if the plug-in does not support the host's major version. */
typedef ondol_npu_status (*ondol_npu_get_api_fn)(uint32_t host_major, uint32_t host_minor,
                                                 const ondol_npu_api **out);

#ifdef __cplusplus
}
#endif
#endif
