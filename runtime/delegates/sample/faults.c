/* faults.c - what goes wrong on purpose, for the tests of a host.
 *
 * Each fault has a countdown of its own, so several may be armed at a time. */
#include "softnpu.h"

#include <math.h>
#include <string.h>

#define FOR_EVER UINT32_MAX

static const struct {
    const char *name;
    uint32_t times;
} KINDS[FAULT_COUNT] = {
    [FAULT_NONE] = {"none", 0},
    [FAULT_NO_MEMORY] = {"no-memory", 1},
    [FAULT_CRASH] = {"crash", 1},
    [FAULT_BUSY] = {"busy", 1},
    [FAULT_THROTTLE] = {"throttle", 3},
    [FAULT_DEVICE_LOST] = {"device-lost", 1},
    [FAULT_HANG] = {"hang", 1},
    [FAULT_HANG_HARD] = {"hang-hard", 1},
    [FAULT_LATE] = {"late", 1},
    [FAULT_NAN] = {"nan", 1},
    [FAULT_SILENT] = {"silent-corruption", FOR_EVER},
};

ondol_npu_status faults_inject(faults *faults, const char *name, uint32_t after,
                               ondol_npu_error *error) {
    int kind = 0;
    while (kind < FAULT_COUNT && strcmp(KINDS[kind].name, name) != 0) {
        kind++;
    }
    if (kind == FAULT_COUNT) {
        return fail(error, ONDOL_NPU_E_UNSUPPORTED, "no fault is named \"%s\"", name);
    }
    pthread_mutex_lock(&faults->lock);
    if (kind == FAULT_NONE) {
        memset(faults->armed, 0, sizeof faults->armed);
        faults->lost = false; /* This plays the reset of a device. */
    } else {
        faults->armed[kind].after = after;
        faults->armed[kind].times = KINDS[kind].times;
    }
    pthread_mutex_unlock(&faults->lock);
    return ONDOL_NPU_OK;
}

/* Whether an armed fault may strike now; if so, counts the stroke. */
static bool strikes(faults *faults, fault kind) {
    if (faults->armed[kind].times == 0 || faults->armed[kind].after > 0) {
        return false;
    }
    if (faults->armed[kind].times != FOR_EVER) {
        faults->armed[kind].times--;
    }
    return true;
}

bool fault_of_memory(faults *faults) {
    pthread_mutex_lock(&faults->lock);
    bool struck = strikes(faults, FAULT_NO_MEMORY);
    pthread_mutex_unlock(&faults->lock);
    return struck;
}

/* The first fault that strikes, or FAULT_NONE. */
static fault first_to_strike(faults *faults) {
    for (fault kind = FAULT_CRASH; kind < FAULT_COUNT; kind++) {
        if (strikes(faults, kind)) {
            return kind;
        }
    }
    return FAULT_NONE;
}

static void count_down(faults *faults) {
    for (int kind = 0; kind < FAULT_COUNT; kind++) {
        if (faults->armed[kind].after > 0) {
            faults->armed[kind].after--;
        }
    }
}

fault fault_of_submit(faults *faults) {
    pthread_mutex_lock(&faults->lock);
    fault kind = faults->lost ? FAULT_LOST_BEFORE : first_to_strike(faults);
    if (kind == FAULT_DEVICE_LOST) {
        faults->lost = true;
    }
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

/* Puts another number of the row, with its sign turned, in the place of every twentieth. */
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
