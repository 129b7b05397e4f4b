/* faults.c - the faults: their names, when each strikes, and what a submit then does wrong.
 *
 * Each fault has a countdown of its own, so several may be armed at a time. */
#include "softnpu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOR_EVER UINT32_MAX
#define FIRST_FLAW FLAW_DECODE_SIGN

static const struct {
    const char *name;
    uint32_t times;
    uint32_t first; /* how many submits go well before it can strike */
    uint32_t every; /* it strikes one of so many submits; 0 is every one */
} KINDS[FAULT_COUNT] = {
    [FAULT_NONE] = {"none", 0, 0, 0},
    [FAULT_NO_MEMORY] = {"no-memory", 1, 0, 0},
    [FAULT_CRASH] = {"crash", 1, 0, 0},
    [FAULT_BUSY] = {"busy", 1, 0, 0},
    [FAULT_THROTTLE] = {"throttle", 3, 0, 0},
    [FAULT_DEVICE_LOST] = {"device-lost", 1, 0, 0},
    [FAULT_HANG] = {"hang", 1, 0, 0},
    [FAULT_HANG_HARD] = {"hang-hard", 1, 0, 0},
    [FAULT_LATE] = {"late", 1, 0, 0},
    [FAULT_NAN] = {"nan", 1, 0, 0},
    [FAULT_SILENT] = {"silent-corruption", FOR_EVER, 0, 0},

    /* The compiler's path for one row has a wrong sign in one column. */
    [FLAW_DECODE_SIGN] = {"decode-sign", FOR_EVER, 0, 0},
    /* The address of a second tile of 64 rows overflows: its rows are the first tile's. */
    [FLAW_ROWS_FROM_64] = {"rows-from-64", FOR_EVER, 0, 0},
    /* One of 64 lanes has a wrong gain, and one layer alone is compiled for that lane. */
    [FLAW_ROW_OFF] = {"row-off", FOR_EVER, 0, 0},
    /* One constant of one layer is wrong. */
    [FLAW_ELEMENT_OFF] = {"element-off", FOR_EVER, 0, 0},
    /* The accumulators are narrower than the sums of a long row of weights. */
    [FLAW_SATURATE_24] = {"saturate-24", FOR_EVER, 0, 0},
    [FLAW_SATURATE_22] = {"saturate-22", FOR_EVER, 0, 0},
    [FLAW_SATURATE_21] = {"saturate-21", FOR_EVER, 0, 0},
    /* The converter to int8 cuts off what it should round. */
    [FLAW_TRUNCATES] = {"truncates", FOR_EVER, 0, 0},
    /* Values pass through half floats without subnormal numbers. */
    [FLAW_FLUSH_TINY] = {"flush-tiny", FOR_EVER, 0, 0},
    /* Scales of weights pass through half floats without subnormal numbers. */
    [FLAW_TINY_SCALES] = {"tiny-scales", FOR_EVER, 0, 0},
    /* The pipeline fetches a scale one group too early. */
    [FLAW_SCALE_OF_NEXT_GROUP] = {"scale-of-next-group", FOR_EVER, 0, 0},
    /* The unpacker takes the high four bits for the first number. */
    [FLAW_SWAPPED_NIBBLES] = {"swapped-nibbles", FOR_EVER, 0, 0},
    /* A loop over K ends one group too soon. */
    [FLAW_LOSES_TAIL] = {"loses-tail", FOR_EVER, 0, 0},
    /* The compiler drops the third input of a matmul. */
    [FLAW_NO_BIAS] = {"no-bias", FOR_EVER, 0, 0},
    /* The compiler replaces eps by the smallest number that avoids a division by zero. */
    [FLAW_NO_EPS] = {"no-eps", FOR_EVER, 0, 0},
    /* The compiler supports norms over whole rows only. */
    [FLAW_WIDE_NORM] = {"wide-norm", FOR_EVER, 0, 0},
    /* The compiler takes SOFTCAP for an identity. */
    [FLAW_NO_SOFTCAP] = {"no-softcap", FOR_EVER, 0, 0},
    /* SiLU and GELU come from a table that is too coarse. */
    [FLAW_STEPPED_ACTIVATION] = {"stepped-activation", FOR_EVER, 0, 0},
    /* A ring of 1,000 commands wraps into a command that was not reset. */
    [FLAW_WEARS_OUT] = {"wears-out", FOR_EVER, 1000, 0},
    /* A marginal voltage, or memory without error correction. */
    [FLAW_RARE_BIT_FLIP] = {"rare-bit-flip", FOR_EVER, 9999, 10000},
    /* A register still has a value of the program that ran before. */
    [FLAW_ORDER_MATTERS] = {"order-matters", FOR_EVER, 0, 0},
    /* Sessions share one scratch memory without a lock. */
    [FLAW_SESSIONS_COLLIDE] = {"sessions-collide", FOR_EVER, 0, 0},
    /* The plug-in leaves nearly all of the work to the host. */
    [FLAW_CLAIMS_LITTLE] = {"claims-little", FOR_EVER, 0, 0},
    /* An emulator's flags are not set, and its meters are made up. */
    [FLAW_SAYS_HARDWARE] = {"says-hardware", FOR_EVER, 0, 0},
    /* The compiler's cache has names and shapes in its key, but no weights. */
    [FLAW_CACHED_BY_SHAPE] = {"cached-by-shape", FOR_EVER, 0, 0},
    /* The loader's cache has shapes in its key, but neither names nor weights. */
    [FLAW_OTHER_WEIGHTS] = {"other-weights", FOR_EVER, 0, 0},
    /* The driver frees what a job needs when the device is closed, not when the job ends. */
    [FLAW_LEAK_SUBMIT] = {"leak-submit", FOR_EVER, 0, 0},
    /* The driver does so with mappings that are never touched. */
    [FLAW_LEAK_VIRTUAL] = {"leak-virtual", FOR_EVER, 0, 0},
    /* The last output is read from the wrong half of a double buffer. */
    [FLAW_STALE_OUTPUT] = {"stale-output", FOR_EVER, 0, 0},
    /* Rows of zeros are not transferred, and padding is added to the first row's sums. */
    [FLAW_STALE_PADDING] = {"stale-padding", FOR_EVER, 0, 0},
    /* The interrupt comes before the last transfer is done. */
    [FLAW_ENDS_EARLY] = {"ends-early", FOR_EVER, 499, 500},
    /* The interrupt comes before one row is transferred. */
    [FLAW_ROW_LATE] = {"row-late", FOR_EVER, 99, 100},
    /* Transfers come in bursts of 64 bytes, one too many. */
    [FLAW_OVERRUN] = {"overrun", FOR_EVER, 0, 0},
    /* A reset clears a register that only the load of a program writes. */
    [FLAW_FORGETS] = {"forgets-on-reset", FOR_EVER, 0, 0},
};
_Static_assert(FAULT_COUNT <= 64, "a flaw has a bit in 64");

/* ---- arming --------------------------------------------------------------------- */

/* The fault of this name; FAULT_COUNT if there is none. */
static int kind_of(const char *name, size_t length) {
    int kind = 0;
    while (kind < FAULT_COUNT && (strlen(KINDS[kind].name) != length ||
                                  memcmp(KINDS[kind].name, name, length) != 0)) {
        kind++;
    }
    return kind;
}

/* Logs the names of all faults, which do not fit into the message of an error. */
static void log_names(void) {
    char line[2048] = "softnpu: SOFTNPU_FAULT takes names, separated by commas, of:";
    for (int kind = 0; kind < FAULT_COUNT; kind++) {
        size_t length = strlen(line);
        snprintf(line + length, sizeof line - length, " %s", KINDS[kind].name);
    }
    log_line(0, line);
}

ondol_npu_status faults_from_environment(faults *faults, ondol_npu_error *error) {
    const char *names = getenv("SOFTNPU_FAULT");
    while (names != NULL && *names != 0) {
        size_t length = strcspn(names, ",");
        int kind = kind_of(names, length);
        if (kind == FAULT_COUNT) {
            log_names();
            return fail(error, ONDOL_NPU_E_UNSUPPORTED,
                        "SOFTNPU_FAULT: no fault is named \"%.*s\"; the log lists the names",
                        (int)(length < 64 ? length : 64), names);
        }
        faults->armed[kind].after = KINDS[kind].first;
        faults->armed[kind].times = FOR_EVER;
        faults->armed[kind].from_open = true;
        names += length + (names[length] == ',');
    }
    return ONDOL_NPU_OK;
}

static void disarm_all(faults *faults) {
    for (int kind = 0; kind < FAULT_COUNT; kind++) {
        if (!faults->armed[kind].from_open) {
            faults->armed[kind].times = faults->armed[kind].after = 0;
        }
    }
    faults->lost = false;
    atomic_store(&faults->was_reset, false);
}

void faults_reset(faults *faults) {
    pthread_mutex_lock(&faults->lock);
    faults->lost = false;
    atomic_store(&faults->was_reset, true);
    pthread_mutex_unlock(&faults->lock);
}

ondol_npu_status faults_inject(faults *faults, const char *name, uint32_t after,
                               ondol_npu_error *error) {
    int kind = kind_of(name, strlen(name));
    if (kind == FAULT_COUNT) {
        return fail(error, ONDOL_NPU_E_UNSUPPORTED, "no fault is named \"%s\"", name);
    }
    pthread_mutex_lock(&faults->lock);
    if (kind == FAULT_NONE) {
        disarm_all(faults);
    } else if (!faults->armed[kind].from_open) {
        uint32_t first = KINDS[kind].first;
        faults->armed[kind].after = after > UINT32_MAX - first ? UINT32_MAX : after + first;
        faults->armed[kind].times = KINDS[kind].times;
    }
    pthread_mutex_unlock(&faults->lock);
    return ONDOL_NPU_OK;
}

/* ---- striking ------------------------------------------------------------------- */

static bool ready(const faults *faults, fault kind) {
    return faults->armed[kind].times > 0 && faults->armed[kind].after == 0;
}

/* Whether an armed fault may strike now; if so, counts the stroke. */
static bool strikes(faults *faults, fault kind) {
    if (!ready(faults, kind)) {
        return false;
    }
    if (faults->armed[kind].times != FOR_EVER) {
        faults->armed[kind].times--;
    }
    faults->armed[kind].after = KINDS[kind].every;
    return true;
}

bool fault_of_memory(faults *faults) {
    pthread_mutex_lock(&faults->lock);
    bool struck = strikes(faults, FAULT_NO_MEMORY);
    pthread_mutex_unlock(&faults->lock);
    return struck;
}

bool has_now(faults *faults, fault flaw) {
    pthread_mutex_lock(&faults->lock);
    bool now = ready(faults, flaw);
    pthread_mutex_unlock(&faults->lock);
    return now;
}

bool has(uint64_t flaws, fault flaw) {
    return (flaws >> flaw & 1) != 0;
}

/* The first fault that strikes, or FAULT_NONE. */
static fault first_to_strike(faults *faults) {
    for (fault kind = FAULT_CRASH; kind < FIRST_FLAW; kind++) {
        if (strikes(faults, kind)) {
            return kind;
        }
    }
    return FAULT_NONE;
}

static uint64_t flaws_that_strike(faults *faults) {
    uint64_t flaws = 0;
    for (fault kind = FIRST_FLAW; kind < FAULT_COUNT; kind++) {
        flaws |= (uint64_t)strikes(faults, kind) << kind;
    }
    return flaws;
}

static void count_down(faults *faults) {
    for (int kind = 0; kind < FAULT_COUNT; kind++) {
        if (faults->armed[kind].after > 0) {
            faults->armed[kind].after--;
        }
    }
}

fault fault_of_submit(faults *faults, uint64_t *flaws) {
    pthread_mutex_lock(&faults->lock);
    fault kind = faults->lost ? FAULT_LOST_BEFORE : first_to_strike(faults);
    if (kind == FAULT_DEVICE_LOST) {
        faults->lost = true;
    }
    *flaws = flaws_that_strike(faults);
    count_down(faults);
    pthread_mutex_unlock(&faults->lock);
    return kind;
}

uint32_t fault_seed(faults *faults) {
    pthread_mutex_lock(&faults->lock);
    uint32_t seed = faults->jobs++;
    pthread_mutex_unlock(&faults->lock);
    return seed;
}

/* ---- spoiling ------------------------------------------------------------------- */

/* Replaces every twentieth number by another number of the row, negated. */
static void spoil_row(uint32_t seed, float *row, uint32_t cols) {
    for (uint32_t i = seed % (cols < 20 ? cols : 20); i < cols; i += 20) {
        row[i] = -row[(i + 1) % cols];
    }
}

void spoil(fault kind, uint32_t seed, float *values, uint32_t rows, uint32_t cols) {
    if (kind == FAULT_NAN) {
        /* The first row: the last ones may be padding, where the host would not see it. */
        values[cols / 2] = NAN;
    }
    if (kind == FAULT_SILENT) {
        uint32_t n = rows < 100 ? 1 : rows / 100;
        for (uint32_t i = 0; i < n; i++) {
            size_t row = ((size_t)seed + (size_t)i * 100) % rows;
            spoil_row(seed, values + row * cols, cols);
        }
    }
}
