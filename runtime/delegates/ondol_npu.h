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
 * - What an argument points to belongs to the host and lives only during the call: a
 *   plug-in copies what it keeps. There are two exceptions: the memory of an imported
 *   buffer lives until buffer_release, and ondol_npu_host lives until the process ends.
 * - What a plug-in returns a pointer to belongs to the plug-in. A handle (device, program,
 *   session, buffer, job) is written to `*out`, is valid only if the call succeeds, and
 *   lives until the host passes it to its *_close, *_free or *_release, exactly once.
 * - A call returns OK, or else an error ONDOL_NPU_E_*. INVALID (an argument is NULL, too
 *   small a struct or otherwise wrong), NOMEM, DEVICE_LOST, PERMISSION and INTERNAL may come
 *   from every call; the comments below name the others that have a meaning to the host.
 * - `error` may be NULL. Otherwise it points to a struct of the host, and the plug-in
 *   fills it in if the call fails. No function allocates for it.
 * - Strings are UTF-8 and end in zero.
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
    uint32_t struct_size; /* bytes: sizeof the struct in the version of its maker */
    uint16_t abi_major;   /* ONDOL_NPU_ABI_MAJOR of its maker */
    uint16_t abi_minor;   /* ONDOL_NPU_ABI_MINOR of its maker */
} ondol_npu_hdr;

/* Whether the struct that `p` points to, of type T, has the field f. */
#define ONDOL_NPU_HAS(p, T, f) ((p)->hdr.struct_size >= offsetof(T, f) + sizeof(((T *)0)->f))

/* ---- errors ------------------------------------------------------------------ */

typedef int32_t ondol_npu_status;
enum {
    ONDOL_NPU_OK = 0,
    ONDOL_NPU_E_INVALID = 1,      /* an argument is wrong: a bug of the caller */
    ONDOL_NPU_E_UNSUPPORTED = 2,  /* valid, but this device can't do it */
    ONDOL_NPU_E_NOMEM = 3,        /* no memory, on the host or on the device */
    ONDOL_NPU_E_DEVICE_LOST = 4,  /* removed, or must be reset */
    ONDOL_NPU_E_TIMEOUT = 5,      /* not done in time; the job may still run */
    ONDOL_NPU_E_CANCELLED = 6,    /* the job ended because the host asked it to */
    ONDOL_NPU_E_INCOMPATIBLE = 7, /* the blob is from another device, driver or compiler */
    ONDOL_NPU_E_CORRUPT = 8,      /* the blob is damaged */
    ONDOL_NPU_E_BUSY = 9,         /* the device can't take the call now */
    ONDOL_NPU_E_THERMAL = 10,     /* the device is too hot */
    ONDOL_NPU_E_PERMISSION = 11,  /* the process may not use the device */
    ONDOL_NPU_E_INTERNAL = 12     /* a bug of the plug-in or its driver */
};

enum {
    ONDOL_NPU_ERROR_RETRYABLE = 1, /* the same call may succeed later */
    ONDOL_NPU_ERROR_NEEDS_RESET = 2 /* the device must be reset before it works again */
};

/* Made by the host, which sets the header; the plug-in fills in the rest. */
typedef struct ondol_npu_error {
    ondol_npu_hdr hdr;
    ondol_npu_status code; /* the status that the call returns */
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

/* Subnormal values and scales count as what they are: a device does not take them for zero. */

/* One scale for a whole row of a weight ("per channel"). */
#define ONDOL_NPU_GROUP_ROW UINT32_MAX

/* How a weight is stored: value = stored number * the scale of its group, without a zero point. */
typedef struct ondol_npu_quant {
    ondol_npu_hdr hdr;
    ondol_npu_dtype store;      /* F32 and F16 (no scales), I8 or I4 */
    uint32_t group;             /* how many neighbouring numbers of a row share a scale, or
                                   ONDOL_NPU_GROUP_ROW; 0 if there are no scales */
    ondol_npu_dtype scale_type; /* F16 or F32; 0 if there are no scales */
} ondol_npu_quant;

/* ---- memory ------------------------------------------------------------------ */

/* Bits, for ondol_npu_device_info.mem_caps. Hosts of version 1.1 offer memory of kind HOST only. */
typedef uint32_t ondol_npu_mem_kind;
enum {
    ONDOL_NPU_MEM_HOST = 1, /* at `ptr`; every device supports it */
    ONDOL_NPU_MEM_DMABUF = 2,
    ONDOL_NPU_MEM_AHARDWAREBUFFER = 4,
    ONDOL_NPU_MEM_ION = 8,
    ONDOL_NPU_MEM_FASTRPC = 16,
    ONDOL_NPU_MEM_DEVICE = 32
};

/* Who reads and writes a buffer. */
enum {
    ONDOL_NPU_HOST_READ = 1,
    ONDOL_NPU_HOST_WRITE = 2,
    ONDOL_NPU_DEVICE_READ = 4,
    ONDOL_NPU_DEVICE_WRITE = 8
};

typedef struct ondol_npu_mem {
    ondol_npu_hdr hdr;
    ondol_npu_mem_kind kind;
    uint32_t access; /* bits ONDOL_NPU_HOST_*, ONDOL_NPU_DEVICE_*. A buffer of inputs has
                        DEVICE_READ, a buffer of outputs DEVICE_WRITE */
    void *ptr;       /* for HOST: the host's memory, aligned to `align` */
    int64_t fd;      /* a file descriptor of the host, for kinds that have one; otherwise -1 */
    uint64_t offset; /* bytes from `ptr` or the start of `fd` to the first byte of the memory */
    uint64_t size;   /* bytes of the memory, above 0 */
    uint64_t align;  /* bytes, a power of two */
} ondol_npu_mem;

/* Handles of the plug-in; the host does not look into them. */
typedef struct ondol_npu_device ondol_npu_device;
typedef struct ondol_npu_program ondol_npu_program;
typedef struct ondol_npu_session ondol_npu_session;
typedef struct ondol_npu_buffer ondol_npu_buffer;
typedef struct ondol_npu_job ondol_npu_job;

/* ---- a graph: one pass of a part of a model, of static shape -------------------- */

typedef uint32_t ondol_npu_role;
enum {
    ONDOL_NPU_INTERMEDIATE = 0, /* written by a node, read by later nodes */
    ONDOL_NPU_INPUT = 1,        /* written by the host before each call */
    ONDOL_NPU_OUTPUT = 2,       /* written by a node for the host; later nodes may read it too */
    ONDOL_NPU_WEIGHT = 3        /* the same in all calls */
};

/* A row-major tensor of rows x cols. Values (all tensors except weights) are F32 and
 * have as many rows as the graph. A vector has one row. The host owns what the pointers
 * lead to; it lives during the call. */
typedef struct ondol_npu_tensor {
    ondol_npu_hdr hdr;
    uint32_t id; /* its index in `tensors` of the graph, from 0 */
    ondol_npu_role role;
    uint32_t rows;
    uint32_t cols;
    const ondol_npu_quant *quant; /* for a weight: its form, or NULL for F32; otherwise NULL */
    const void *data;             /* for a weight: rows x cols numbers, row after row, each row from
                                     a whole byte on, of any alignment; in claim NULL */
    uint64_t data_size;           /* bytes at `data`, exactly; 0 if it is NULL */
    const void *scales;           /* for a weight with scales: for each row one number of
                                     `scale_type` per group, of any alignment; in claim NULL */
    uint64_t scales_size;         /* bytes at `scales`, exactly; 0 if it is NULL */
} ondol_npu_tensor;

typedef uint32_t ondol_npu_op;
enum {
    /* out[m][n] = sum over k of in0[m][k] * in1[n][k] (+ in2[n], if there is an in2) */
    ONDOL_NPU_MATMUL = 1,
    /* Each group of `group` neighbouring numbers of a row of in0, divided by the square root
     * of (the group's mean square + eps), and times in1, a vector of `group` numbers, if there
     * is an in1 */
    ONDOL_NPU_RMSNORM = 2,
    ONDOL_NPU_ADD = 3,       /* in0 + in1; neither is a weight */
    ONDOL_NPU_SCALE = 4,     /* in0 * factor */
    ONDOL_NPU_SILU_MUL = 5,  /* in0 / (1 + e^-in0) * in1 */
    ONDOL_NPU_GELU_MUL = 6,  /* gelu(in0) * in1, with the tanh form of gelu */
    ONDOL_NPU_SOFTCAP = 7    /* factor * tanh(in0 / factor) */
};

typedef struct ondol_npu_node {
    ondol_npu_hdr hdr;
    ondol_npu_op op;
    uint32_t n_in;  /* how many inputs there are, 1 to 4 */
    uint32_t in[4]; /* ids of the input tensors: in0, in1, ...; the first `n_in` count */
    uint32_t out;   /* id of the tensor that the node writes; no other node writes it */
    float eps;      /* for RMSNORM */
    uint32_t group; /* for RMSNORM: numbers in a group; divides the columns of in0 */
    float factor;   /* for SCALE and SOFTCAP */
} ondol_npu_node;

typedef struct ondol_npu_graph {
    ondol_npu_hdr hdr;
    const char *name;   /* for messages, not unique: "layer 3"; may be NULL */
    uint32_t rows;      /* rows (tokens) of one call; fixed, one of ondol_npu_device_info.rows */
    uint32_t n_tensors; /* pointers at `tensors` */
    uint32_t n_nodes;   /* pointers at `nodes` */
    const ondol_npu_tensor *const *tensors;
    const ondol_npu_node *const *nodes; /* in order of execution */
} ondol_npu_graph;

/* ---- description of a device --------------------------------------------------- */

/* Flags of a device; hardware has none of them. */
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

/* Made by the host, which sets the header and zeros the rest; device_info fills it in. The
 * plug-in owns the two lists, which live until device_close. */
typedef struct ondol_npu_device_info {
    ondol_npu_hdr hdr;
    char vendor[64];
    char device[64];
    char arch[32];      /* the architecture for which programs are compiled */
    char driver[64];    /* version of the driver and its compiler */
    char firmware[64];  /* version */
    uint32_t flags;     /* bits ONDOL_NPU_DEVICE_* */
    uint32_t mem_caps;  /* bits ONDOL_NPU_MEM_*; must include HOST */
    uint64_t mem_total; /* bytes of the device's memory; 0 if unknown */
    uint64_t mem_free;  /* bytes of it that are free now; 0 if unknown */
    ondol_npu_dtype activations; /* type of a matmul's rounded inputs: F32, F16, BF16, I16, I8 */
    uint32_t n_quants;           /* pointers at `quants`, at most 64 */
    const ondol_npu_quant *const *quants; /* forms of weights that the device takes */
    uint32_t n_rows;      /* numbers at `rows`, 1 to 64 */
    const uint32_t *rows; /* the numbers of rows that graphs can have, ascending, each above 0 */
    /* Since version 1.1, more about a matmul's arithmetic. 0 is "not said" for each. */
    uint32_t activation_group; /* for integer activations: how many neighbouring inputs of a row
                                  share a scale, or ONDOL_NPU_GROUP_ROW. The host reads 0 as
                                  ONDOL_NPU_GROUP_ROW */
    uint32_t accumulator_bits; /* significant bits of sums, 8 to 64. Sums of integers saturate at
                                  them, the sign included; sums of floats are rounded to them. The
                                  host reads 0 as 32 with integer activations, else as 24 */
    uint32_t rounding;         /* ONDOL_NPU_ROUND_*. The host reads 0 as NEAREST_EVEN */
    uint64_t mem_limit; /* the most bytes of weights (data_size and scales_size of their tensors)
                           that all programs of the device can have at a time; 0 is no limit.
                           The host leaves to the CPU what would exceed it */
} ondol_npu_device_info;

/* Made by the host, which sets the header; claim fills it in. */
typedef struct ondol_npu_claim {
    ondol_npu_hdr hdr;
    uint32_t claimed; /* 1 if the device takes the node, else 0 */
    char reason[120]; /* if not claimed, the reason; UTF-8, ends in zero */
} ondol_npu_claim;

enum {
    ONDOL_NPU_MEASURED_TIME = 1,
    ONDOL_NPU_MEASURED_ENERGY = 2,
    ONDOL_NPU_MEASURED_TEMPERATURE = 4,
    ONDOL_NPU_MEASURED_THROTTLING = 8
};

/* What the device measured for one job. Made by the host, which sets the header; job_wait fills it
 * in. */
typedef struct ondol_npu_metrics {
    ondol_npu_hdr hdr;
    uint32_t measured;      /* bits ONDOL_NPU_MEASURED_*: which of the fields below are valid */
    uint32_t throttled;     /* 1 if the device ran slower because of heat, else 0 */
    uint64_t exec_ns;       /* nanoseconds that the program took on the device */
    uint64_t energy_uj;     /* microjoules that the job took on the device, without the host */
    int32_t temperature_mc; /* thousandths of a degree Celsius, of the device */
} ondol_npu_metrics;

/* The memory of one input or output of a job. */
typedef struct ondol_npu_binding {
    ondol_npu_hdr hdr;
    uint32_t tensor;          /* id of an input or output of the program's graph */
    ondol_npu_buffer *buffer; /* of the session's device */
    uint64_t offset;          /* bytes from the start of the buffer to the tensor's
                                 rows * cols * 4 bytes; a multiple of 4 */
} ondol_npu_binding;

/* ---- the two tables ------------------------------------------------------------- */

/* Functions of the host. The plug-in may call them from any thread, until the process ends. */
typedef struct ondol_npu_host {
    ondol_npu_hdr hdr;
    void *context; /* the first argument of `log`; may be NULL */
    /* Logs a line. `level` is 0 for an error, 1 for a warning, 2 for information. `message` belongs
     * to the plug-in and is not used after the call. */
    void (*log)(void *context, int level, const char *message);
} ondol_npu_host;

/* Functions of the plug-in. The plug-in owns the table and its strings; they live until the process
 * ends. No function may be NULL, except inject and reset. */
typedef struct ondol_npu_api {
    ondol_npu_hdr hdr;
    const char *name; /* of the plug-in */
    const char *version;
    const char *licence; /* SPDX */

    /* Called before all others; called again by any other host in the same process. The plug-in may
     * keep `host`. UNSUPPORTED if the plug-in can't be used on this machine. */
    ondol_npu_status (*init)(const ondol_npu_host *host, ondol_npu_error *error);
    /* Returns how many devices there are; 0 if there is none. */
    uint32_t (*device_count)(void);
    /* Opens the device `index`, from 0 to device_count() - 1, and writes its handle to *out. */
    ondol_npu_status (*device_open)(uint32_t index, ondol_npu_device **out, ondol_npu_error *error);
    /* Frees the device. Nothing that was made from it is left. */
    void (*device_close)(ondol_npu_device *device);
    /* Fills in `info`, whose header the host has set. The host may call it again at any time, for
     * mem_free. */
    ondol_npu_status (*device_info)(ondol_npu_device *device, ondol_npu_device_info *info,
                                    ondol_npu_error *error);

    /* Says for each node whether the device takes it: `claims` has graph->n_nodes pointers, to a
     * struct of the host for each node, in the order of the nodes. The graph's weights have no data
     * yet. A node that is refused is no error. INVALID if the graph is broken. */
    ondol_npu_status (*claim)(ondol_npu_device *device, const ondol_npu_graph *graph,
                              ondol_npu_claim *const *claims, ondol_npu_error *error);
    /* Makes a program of a graph whose nodes are all claimed and whose weights have their data. May
     * take minutes. UNSUPPORTED if the device does not take a node. */
    ondol_npu_status (*compile)(ondol_npu_device *device, const ondol_npu_graph *graph,
                                ondol_npu_program **out, ondol_npu_error *error);
    /* Writes a program as bytes into `blob`, memory of the host. *size is the capacity of `blob` in
     * bytes before the call and the length of the program in bytes after it. If `blob` is NULL,
     * only writes the length. INVALID if the capacity is too small; also then *size is the
     * length. */
    ondol_npu_status (*program_save)(ondol_npu_program *program, void *blob, size_t *size,
                                     ondol_npu_error *error);
    /* Makes a program of the `size` bytes at `blob`, which program_save wrote, perhaps in another
     * process. Must not crash on any bytes: INCOMPATIBLE if they are from another device, driver or
     * compiler, CORRUPT if they are damaged. */
    ondol_npu_status (*program_load)(ondol_npu_device *device, const void *blob, size_t size,
                                     ondol_npu_program **out, ondol_npu_error *error);
    /* Frees the program. No session that was made of it is left. */
    void (*program_free)(ondol_npu_program *program);

    /* Makes a session of the `n` programs at `programs`, at least one and all of one device, which
     * run one after another. The programs outlive it; the list lives only during the call. */
    ondol_npu_status (*session_new)(ondol_npu_program *const *programs, uint32_t n,
                                    ondol_npu_session **out, ondol_npu_error *error);
    /* Ends all running jobs, however long that takes: afterwards nothing uses their buffers. The
     * host frees jobs after this call, or before it if they have ended. */
    void (*session_free)(ondol_npu_session *session);

    /* Lets the device use memory of the host, in place: a job reads and writes it only between its
     * submit and its end. The memory lives until buffer_release. UNSUPPORTED for a kind of memory
     * that mem_caps does not have. */
    ondol_npu_status (*buffer_import)(ondol_npu_device *device, const ondol_npu_mem *memory,
                                      ondol_npu_buffer **out, ondol_npu_error *error);
    /* Frees the handle, not the memory. No running job uses the buffer. */
    void (*buffer_release)(ondol_npu_buffer *buffer);

    /* Starts a program and returns without waiting for its end. `program` is an index in the list
     * that session_new got. The `n` structs at `bindings` bind every input and every output of the
     * program's graph once; no output shares memory with another value. The device should give up,
     * with TIMEOUT, when `deadline_ns` nanoseconds have passed since this call; 0 is no deadline.
     * The job lives until job_free. After an error no job was started: BUSY or THERMAL if the
     * device takes none now, with the flag RETRYABLE. */
    ondol_npu_status (*submit)(ondol_npu_session *session, uint32_t program,
                               const ondol_npu_binding *const *bindings, uint32_t n,
                               uint64_t deadline_ns, ondol_npu_job **out, ondol_npu_error *error);
    /* Waits for a job to end, for `timeout_ns` nanoseconds at most; 0 does not wait. If the job has
     * ended, *ended is 1 and the status is its outcome: OK if all outputs are written, or an error
     * such as TIMEOUT, CANCELLED, DEVICE_LOST. If it has not ended, *ended is 0 and the status is
     * OK: the job still uses its buffers, and may be waited for again. An error with *ended 0 is a
     * failure of the wait itself. `metrics` may be NULL, and is valid only if the outcome is OK. */
    ondol_npu_status (*job_wait)(ondol_npu_job *job, uint64_t timeout_ns, uint32_t *ended,
                                 ondol_npu_metrics *metrics, ondol_npu_error *error);
    /* Asks a job to end soon, with CANCELLED, and does not wait. job_wait reports when it has
     * ended. OK also if the job has ended already. */
    ondol_npu_status (*job_cancel)(ondol_npu_job *job, ondol_npu_error *error);
    /* Frees a job. Called after job_wait has returned an outcome, or after the session is freed. */
    void (*job_free)(ondol_npu_job *job);

    /* Optional (may be NULL), for test builds. `fault` is the name of a fault; they are listed in
     * docs/add-a-delegate.md. Makes a later call fail as the fault says: the submit that comes
     * after `after` others (0: the next one), or another call. "none" ends all faults. UNSUPPORTED
     * for an unknown name. */
    ondol_npu_status (*inject)(ondol_npu_device *device, const char *fault, uint32_t after,
                               ondol_npu_error *error);

    /* Since version 1.1. Optional (may be NULL): the host calls it after an error with the flag
     * NEEDS_RESET, and after OK it uses the device again. A job that is running ends, with
     * DEVICE_LOST or its result. Programs, sessions and buffers stay valid: the plug-in puts the
     * device back into the state in which their next jobs compute what they would have computed.
     * Until it is called, a lost device fails every submit with DEVICE_LOST. */
    ondol_npu_status (*reset)(ondol_npu_device *device, ondol_npu_error *error);
} ondol_npu_api;

/* The exported symbol `ondol_npu_get_api`. `host_major` and `host_minor` are the version of this
 * header that the host was built with. Writes the plug-in's table to *out. Returns OK; INVALID if
 * `out` is NULL; INCOMPATIBLE if the plug-in does not support the host's major version. Called
 * before all other functions; does not need init. */
typedef ondol_npu_status (*ondol_npu_get_api_fn)(uint32_t host_major, uint32_t host_minor,
                                                 const ondol_npu_api **out);

#ifdef __cplusplus
}
#endif
#endif
