/* test_blobs.c - saving and loading, and blobs that are damaged or hostile. */
#include "test.h"

enum { HEADER_BYTES = 56, CHECKSUM_AT = 48 };

static uint8_t *save(ondol_npu_program *program, size_t *size) {
    CHECK(api->program_save(program, NULL, size, NULL) == ONDOL_NPU_OK);
    uint8_t *blob = malloc(*size);
    CHECK(api->program_save(program, blob, size, NULL) == ONDOL_NPU_OK);
    return blob;
}

/* A copy of just so many bytes, so that AddressSanitizer sees every read beyond it. */
static ondol_npu_status load(ondol_npu_device *device, const uint8_t *bytes, size_t n,
                             ondol_npu_program **out) {
    uint8_t *copy = malloc(n + (n == 0));
    memcpy(copy, bytes, n);
    ondol_npu_error error = {.hdr = HEADER(ondol_npu_error)};
    ondol_npu_status status = api->program_load(device, copy, n, out, &error);
    CHECK(status == ONDOL_NPU_OK || error.code == status);
    free(copy);
    return status;
}

static void round_trip(ondol_npu_device *device) {
    enum { VALUES = 16 * 96 };
    model m;
    block_init(&m, 16, 96, 64);
    rig r1, r2;
    rig_init(&r1, &m, device, compile(device, &m));
    size_t size, length;
    uint8_t *blob = save(r1.program, &size);
    length = size - 1;
    CHECK(api->program_save(r1.program, blob, &length, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(length == size);
    ondol_npu_program *loaded;
    CHECK(load(device, blob, size, &loaded) == ONDOL_NPU_OK);
    rig_init(&r2, &m, device, loaded);
    memcpy(r2.values[0], r1.values[0], VALUES * sizeof(float));
    CHECK(rig_run(&r1, 0) == ONDOL_NPU_OK && rig_run(&r2, 0) == ONDOL_NPU_OK);
    CHECK(count_different(r1.values[1], r2.values[1], VALUES) == 0);
    size_t size2;
    uint8_t *blob2 = save(loaded, &size2);
    CHECK(size2 == size && memcmp(blob, blob2, size) == 0);
    free(blob);
    free(blob2);
    rig_free(&r1);
    rig_free(&r2);
    model_free(&m);
}

static void damaged(ondol_npu_device *device, uint8_t *blob, size_t size) {
    ondol_npu_program *loaded;
    for (size_t i = 0; i < size; i++) {
        uint8_t was = blob[i];
        for (int flip = 1; flip < 256; flip = flip * 2 + 1) {
            blob[i] = was ^ (uint8_t)flip;
            ondol_npu_status status = load(device, blob, size, &loaded);
            CHECK(status == (i < 40 ? ONDOL_NPU_E_INCOMPATIBLE : ONDOL_NPU_E_CORRUPT));
        }
        blob[i] = was;
        CHECK(load(device, blob, i, &loaded) == ONDOL_NPU_E_CORRUPT);
    }
}

static void fix_checksum(uint8_t *blob, size_t size) {
    uint64_t length = size, hash = 0xcbf29ce484222325u;
    for (size_t i = HEADER_BYTES; i < size; i++) {
        hash = (hash ^ blob[i]) * 0x100000001b3u;
    }
    memcpy(blob + 40, &length, 8);
    memcpy(blob + CHECKSUM_AT, &hash, 8);
}

/* A blob with the right checksum either is refused or makes a program that a session takes. */
static void try_hostile(ondol_npu_device *device, uint8_t *blob, size_t size) {
    ondol_npu_program *loaded;
    ondol_npu_session *session;
    fix_checksum(blob, size);
    ondol_npu_status status = load(device, blob, size, &loaded);
    if (status == ONDOL_NPU_OK) {
        CHECK(api->session_new(&loaded, 1, &session, NULL) == ONDOL_NPU_OK);
        api->session_free(session);
        api->program_free(loaded);
    } else {
        CHECK(status == ONDOL_NPU_E_CORRUPT);
    }
}

static void hostile(ondol_npu_device *device, uint8_t *blob, size_t size) {
    static const uint8_t PATTERNS[] = {1, 2, 7, 128, 255};
    for (size_t i = HEADER_BYTES; i < size; i++) {
        uint8_t was = blob[i];
        for (size_t p = 0; p < sizeof PATTERNS; p++) {
            blob[i] = was ^ PATTERNS[p];
            try_hostile(device, blob, size);
        }
        blob[i] = was;
    }
    for (size_t i = HEADER_BYTES; i + 4 <= size; i += 4) {
        uint32_t was, huge = UINT32_MAX;
        memcpy(&was, blob + i, 4);
        memcpy(blob + i, &huge, 4);
        try_hostile(device, blob, size);
        memcpy(blob + i, &was, 4);
    }
    uint8_t *cut = calloc(1, size + 1);
    memcpy(cut, blob, size);
    fix_checksum(cut, size + 1);
    ondol_npu_program *loaded;
    CHECK(load(device, cut, size + 1, &loaded) == ONDOL_NPU_E_CORRUPT);
    for (size_t n = HEADER_BYTES; n < size; n++) {
        memcpy(cut, blob, n);
        try_hostile(device, cut, n);
    }
    free(cut);
    fix_checksum(blob, size);
}

void test_blobs(void) {
    ondol_npu_device *device = open_device();
    round_trip(device);
    model m;
    block_init(&m, 1, 32, 32);
    ondol_npu_program *program = compile(device, &m);
    size_t size;
    uint8_t *blob = save(program, &size);
    damaged(device, blob, size);
    hostile(device, blob, size);
    free(blob);
    api->program_free(program);
    model_free(&m);
    api->device_close(device);
}
