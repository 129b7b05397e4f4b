/* test_contract.c - versions, pointers, claims, broken graphs and bindings. */
#include "test.h"

static void versions(void) {
    const ondol_npu_api *out = NULL;
    CHECK(get_api(ONDOL_NPU_ABI_MAJOR + 1, 0, &out) == ONDOL_NPU_E_INCOMPATIBLE);
    CHECK(get_api(0, 0, &out) == ONDOL_NPU_E_INCOMPATIBLE);
    CHECK(out == NULL);
    CHECK(get_api(ONDOL_NPU_ABI_MAJOR, 0, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(get_api(ONDOL_NPU_ABI_MAJOR, ONDOL_NPU_ABI_MINOR + 7, &out) == ONDOL_NPU_OK);
    CHECK(out == api);
}

/* An `error` of NULL is allowed everywhere, and other pointers may be NULL by mistake. */
static void nothing_there(ondol_npu_device *device) {
    ondol_npu_job *job;
    ondol_npu_session *session;
    ondol_npu_program *program;
    size_t size = 0;
    CHECK(api->init(NULL, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->device_open(0, NULL, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->device_open(1, &device, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->device_info(device, NULL, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->claim(device, NULL, NULL, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->compile(device, NULL, &program, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->program_save(NULL, NULL, &size, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->program_load(device, NULL, 0, &program, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->session_new(NULL, 0, &session, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->buffer_import(device, NULL, NULL, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->submit(NULL, 0, NULL, 0, 0, &job, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->job_wait(NULL, 0, NULL, NULL, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->job_cancel(NULL, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->inject(device, NULL, 0, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->inject(device, "gremlins", 0, NULL) == ONDOL_NPU_E_UNSUPPORTED);
    api->device_close(NULL);
    api->program_free(NULL);
    api->session_free(NULL);
    api->buffer_release(NULL);
    api->job_free(NULL);
}

/* Structs that are smaller than in version 1.0 are refused; of larger ones nothing is touched
 * that the plug-in does not know. */
static void sizes(ondol_npu_device *device) {
    struct {
        ondol_npu_device_info info;
        uint64_t more;
    } large = {.info = {.hdr = HEADER(ondol_npu_device_info)}, .more = 42};
    large.info.hdr.struct_size = sizeof large;
    large.info.hdr.abi_minor = 9;
    CHECK(api->device_info(device, &large.info, NULL) == ONDOL_NPU_OK);
    CHECK(large.more == 42 && large.info.hdr.struct_size == sizeof large);
    CHECK(large.info.hdr.abi_minor == 9 && large.info.n_quants == 3 && large.info.n_rows == 5);
    CHECK(strcmp(large.info.arch, "softnpu1") == 0);
    CHECK(large.info.activation_group == 32 && large.info.accumulator_bits == 32);
    CHECK(large.info.rounding == ONDOL_NPU_ROUND_NEAREST_AWAY);
    large.info.hdr.struct_size = offsetof(ondol_npu_device_info, activation_group);
    large.info.activation_group = large.info.accumulator_bits = large.info.rounding = 42;
    CHECK(api->device_info(device, &large.info, NULL) == ONDOL_NPU_OK);
    CHECK(large.info.activation_group == 42 && large.info.accumulator_bits == 42);
    CHECK(large.info.rounding == 42);
    ondol_npu_error small = {.hdr = HEADER(ondol_npu_error), .code = 77};
    small.hdr.struct_size = 16;
    large.info.hdr.struct_size = 100;
    CHECK(api->device_info(device, &large.info, &small) == ONDOL_NPU_E_INVALID);
    CHECK(small.code == 77);
}

static void imports(ondol_npu_device *device) {
    float memory[8];
    ondol_npu_buffer *buffer;
    const ondol_npu_mem good = {HEADER(ondol_npu_mem), ONDOL_NPU_MEM_HOST, 15, memory, -1, 0,
                                sizeof memory, 4};
    ondol_npu_mem bad = good;
    bad.kind = ONDOL_NPU_MEM_DMABUF;
    CHECK(api->buffer_import(device, &bad, &buffer, NULL) == ONDOL_NPU_E_UNSUPPORTED);
    bad = good, bad.size = 0;
    CHECK(api->buffer_import(device, &bad, &buffer, NULL) == ONDOL_NPU_E_INVALID);
    bad = good, bad.ptr = NULL;
    CHECK(api->buffer_import(device, &bad, &buffer, NULL) == ONDOL_NPU_E_INVALID);
    bad = good, bad.ptr = (char *)memory + 1;
    CHECK(api->buffer_import(device, &bad, &buffer, NULL) == ONDOL_NPU_E_INVALID);
    bad = good, bad.size = UINT64_MAX;
    CHECK(api->buffer_import(device, &bad, &buffer, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->buffer_import(device, &good, &buffer, NULL) == ONDOL_NPU_OK);
    api->buffer_release(buffer);
}

/* ---- claims -------------------------------------------------------------------------- */

static bool claimed(ondol_npu_device *device, const model *m, ondol_npu_claim *claim) {
    ondol_npu_claim *const list[] = {claim};
    *claim = (ondol_npu_claim){.hdr = HEADER(ondol_npu_claim)};
    CHECK(api->claim(device, &m->graph, list, NULL) == ONDOL_NPU_OK);
    CHECK(claim->claimed == (claim->reason[0] == 0));
    return claim->claimed;
}

/* A matmul whose weight has no data, as the host asks for it. */
static void claim_matmul(ondol_npu_device *device, const ondol_npu_quant *quant, uint32_t k,
                         ondol_npu_claim *claim) {
    model m;
    model_init(&m, 16);
    uint32_t in = add_value(&m, ONDOL_NPU_INPUT, k), out = add_value(&m, ONDOL_NPU_OUTPUT, 8);
    uint32_t weight = add_value(&m, ONDOL_NPU_WEIGHT, k);
    m.tensors[weight].rows = 8;
    m.tensors[weight].quant = quant;
    add_node(&m, ONDOL_NPU_MATMUL, out, 2, in, weight, 0);
    claimed(device, &m, claim);
    ondol_npu_program *program;
    CHECK(api->compile(device, &m.graph, &program, NULL) ==
          (claim->claimed ? ONDOL_NPU_E_INVALID : ONDOL_NPU_E_UNSUPPORTED));
}

static void claims(ondol_npu_device *device) {
    static const ondol_npu_quant odd = {HEADER(ondol_npu_quant), ONDOL_NPU_I8, 64, ONDOL_NPU_F16};
    ondol_npu_claim claim;
    claim_matmul(device, &I4, 64, &claim);
    CHECK(claim.claimed);
    claim_matmul(device, &I8_ROW, 100, &claim);
    CHECK(strcmp(claim.reason, "K is 100, no multiple of 32") == 0);
    claim_matmul(device, &I8, 65536 + 32, &claim);
    CHECK(strcmp(claim.reason, "K is 65568, more than 65536") == 0);
    claim_matmul(device, &odd, 64, &claim);
    CHECK(!claim.claimed);
    claim_matmul(device, NULL, 64, &claim);
    CHECK(!claim.claimed);
}

static void unknown_op(ondol_npu_device *device) {
    ondol_npu_claim claim;
    model m;
    model_init(&m, 16);
    uint32_t in = add_value(&m, ONDOL_NPU_INPUT, 8), out = add_value(&m, ONDOL_NPU_OUTPUT, 8);
    add_node(&m, 99, out, 1, in, 0, 0);
    CHECK(!claimed(device, &m, &claim) && strcmp(claim.reason, "op 99 is unknown") == 0);
}

/* ---- broken graphs --------------------------------------------------------------------- */

static void is_broken(ondol_npu_device *device, const model *m) {
    ondol_npu_error error = {.hdr = HEADER(ondol_npu_error)};
    ondol_npu_claim claim[MAX], *list[MAX];
    ondol_npu_program *program;
    for (int i = 0; i < MAX; i++) {
        claim[i] = (ondol_npu_claim){.hdr = HEADER(ondol_npu_claim)};
        list[i] = &claim[i];
    }
    CHECK(api->claim(device, &m->graph, list, &error) == ONDOL_NPU_E_INVALID);
    CHECK(error.code == ONDOL_NPU_E_INVALID && error.message[0] != 0);
    CHECK(api->compile(device, &m->graph, &program, NULL) == ONDOL_NPU_E_INVALID);
}

static void broken_graphs(ondol_npu_device *device) {
    model m, good;
    block_init(&m, 16, 32, 64);
    memcpy(&good, &m, sizeof m);
#define BROKEN(change)       \
    change;                  \
    is_broken(device, &m);   \
    memcpy(&m, &good, sizeof m)
    BROKEN(m.graph.rows = 17);
    BROKEN(m.graph.rows = 64);
    BROKEN(m.graph.n_nodes = 0);
    BROKEN(m.graph.n_nodes = 5); /* Nothing computes the output. */
    BROKEN(m.graph.tensors = NULL);
    BROKEN(m.tensor_list[2] = NULL);
    BROKEN(m.node_list[2] = NULL);
    BROKEN(m.tensors[3].id = 4);
    BROKEN(m.tensors[3].role = 9);
    BROKEN(m.tensors[3].cols = 0);
    BROKEN(m.tensors[3].cols = 63);
    BROKEN(m.tensors[3].hdr.struct_size = 20);
    BROKEN(m.nodes[0].hdr.struct_size = 20);
    BROKEN(m.nodes[0].group = 0);
    BROKEN(m.nodes[0].group = 5);
    BROKEN(m.nodes[0].in[0] = 16);
    BROKEN(m.nodes[0].in[0] = UINT32_MAX);
    BROKEN(m.nodes[0].out = 100);
    BROKEN(m.nodes[0].out = 0);   /* an input */
    BROKEN(m.nodes[0].out = 7);   /* a weight */
    BROKEN(m.nodes[0].in[0] = 3); /* computed later */
    BROKEN(m.nodes[1].n_in = 1);
    BROKEN(m.nodes[1].n_in = UINT32_MAX);
    BROKEN(m.nodes[2].out = 3); /* computed twice */
#undef BROKEN
    model_free(&m);
}

static void broken_weights(ondol_npu_device *device) {
    model m;
    ondol_npu_program *program;
    block_init(&m, 16, 32, 64);
    for (uint32_t i = 7; i < m.graph.n_tensors; i++) {
        m.tensors[i].data_size--;
        CHECK(api->compile(device, &m.graph, &program, NULL) == ONDOL_NPU_E_INVALID);
        m.tensors[i].data_size++;
    }
    m.tensors[8].scales_size += 2;
    CHECK(api->compile(device, &m.graph, &program, NULL) == ONDOL_NPU_E_INVALID);
    model_free(&m);
}

/* A message that does not fit ends in a whole character. */
static void long_name(ondol_npu_device *device) {
    char name[400];
    for (size_t i = 0; i + 1 < sizeof name; i++) {
        name[i] = "\xec\x98\xa8"[i % 3];
    }
    name[sizeof name - 1] = 0;
    for (int cut = 0; cut < 3; cut++) {
        model m;
        model_init(&m, 16);
        m.graph.name = cut == 0 ? name : name + 3;
        m.graph.rows = cut == 2 ? 177 : 17;
        uint32_t in = add_value(&m, ONDOL_NPU_INPUT, 8), out = add_value(&m, ONDOL_NPU_OUTPUT, 8);
        add_node(&m, ONDOL_NPU_SCALE, out, 1, in, 0, 0);
        ondol_npu_error error = {.hdr = HEADER(ondol_npu_error)};
        ondol_npu_program *program;
        CHECK(api->compile(device, &m.graph, &program, &error) == ONDOL_NPU_E_INVALID);
        size_t length = strlen(error.message);
        CHECK(length > 200 && error.message[length - 1] == '\xa8');
    }
}

/* Programs take the device's memory until they are freed, compiled or loaded. */
static void memory_limit(void) {
    enum { WEIGHT = 64 * 32 + 64 * 2 }; /* I8 by 32: numbers, then half floats */
    char limit[32];
    snprintf(limit, sizeof limit, "%d", 2 * WEIGHT);
    setenv("SOFTNPU_MEMORY", limit, 1);
    ondol_npu_device *device = open_device();
    unsetenv("SOFTNPU_MEMORY");
    ondol_npu_device_info info = {.hdr = HEADER(ondol_npu_device_info)};
    CHECK(api->device_info(device, &info, NULL) == ONDOL_NPU_OK && info.mem_limit == 2 * WEIGHT);
    model m;
    model_init(&m, 16);
    uint32_t in = add_value(&m, ONDOL_NPU_INPUT, 32), out = add_value(&m, ONDOL_NPU_OUTPUT, 64);
    add_node(&m, ONDOL_NPU_MATMUL, out, 2, in, add_weight(&m, &I8, 64, 32), 0);
    ondol_npu_program *first = compile(device, &m), *second = compile(device, &m), *third;
    ondol_npu_error error = {.hdr = HEADER(ondol_npu_error)};
    CHECK(api->compile(device, &m.graph, &third, &error) == ONDOL_NPU_E_NOMEM);
    CHECK(strstr(error.message, limit) != NULL);
    size_t size = 0;
    CHECK(api->program_save(first, NULL, &size, NULL) == ONDOL_NPU_OK);
    void *blob = malloc(size);
    CHECK(api->program_save(first, blob, &size, NULL) == ONDOL_NPU_OK);
    CHECK(api->program_load(device, blob, size, &third, NULL) == ONDOL_NPU_E_NOMEM);
    api->program_free(second);
    CHECK(api->program_load(device, blob, size, &third, NULL) == ONDOL_NPU_OK);
    free(blob);
    api->program_free(first);
    api->program_free(third);
    model_free(&m);
    api->device_close(device);
}

static void several_devices(void) {
    setenv("SOFTNPU_DEVICES", "2", 1);
    ondol_npu_device *device;
    ondol_npu_device_info info = {.hdr = HEADER(ondol_npu_device_info)};
    CHECK(api->device_count() == 2);
    CHECK(api->device_open(1, &device, NULL) == ONDOL_NPU_OK);
    CHECK(api->device_info(device, &info, NULL) == ONDOL_NPU_OK);
    CHECK(strcmp(info.device, "softnpu 1") == 0);
    api->device_close(device);
    CHECK(api->device_open(2, &device, NULL) == ONDOL_NPU_E_INVALID);
    unsetenv("SOFTNPU_DEVICES");
}

void test_contract(void) {
    ondol_npu_device *device = open_device();
    versions();
    nothing_there(device);
    sizes(device);
    imports(device);
    claims(device);
    unknown_op(device);
    broken_graphs(device);
    broken_weights(device);
    long_name(device);
    api->device_close(device);
    memory_limit();
    several_devices();
}
