/* test.c - loads the plug-in that is named on the command line and runs all tests on it. */
#include "test.h"

#include <dlfcn.h>

const ondol_npu_api *api;
ondol_npu_get_api_fn get_api;
char last_error[4096];

static int lines;

static void count_line(void *context, int level, const char *message) {
    CHECK(context == &lines && (level == 0 || level == 2));
    if (level == 0) {
        snprintf(last_error, sizeof last_error, "%s", message);
    } else {
        lines++;
    }
}

int main(int argc, char **argv) {
    static const ondol_npu_host host = {HEADER(ondol_npu_host), &lines, count_line};
    CHECK(argc == 2);
    void *library = dlopen(argv[1], RTLD_NOW);
    CHECK(library != NULL);
    void *symbol = dlsym(library, "ondol_npu_get_api");
    CHECK(symbol != NULL);
    memcpy(&get_api, &symbol, sizeof get_api); /* ISO C has no cast for it. */
    CHECK(get_api(ONDOL_NPU_ABI_MAJOR, ONDOL_NPU_ABI_MINOR, &api) == ONDOL_NPU_OK);
    ondol_npu_device *device;
    CHECK(api->device_open(0, &device, NULL) == ONDOL_NPU_E_INVALID);
    CHECK(api->init(&host, NULL) == ONDOL_NPU_OK && lines == 1);
    CHECK(api->device_count() == 1);
    api->device_close(open_device());
    CHECK(lines == 2);
    test_contract();
    test_arithmetic();
    test_blobs();
    test_jobs();
    test_faults();
    test_flaws();
    puts("all tests passed");
    return 0;
}
