/* A plugin of qemu that counts the instructions of the program that qemu runs, and prints
 * the count at the end. Not every package has qemu's header, so this file declares what it
 * needs of version 1 of the interface. */
#include <stdint.h>
#include <stdio.h>

typedef uint64_t id;
struct qemu_plugin_tb;

enum { ADD = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(id, void (*)(id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
void qemu_plugin_register_atexit_cb(id, void (*)(id, void *), void *);
uint64_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

int qemu_plugin_version = 1;

static uint64_t instructions;

/* Makes a block of instructions add their number whenever it runs. */
static void translated(id plugin, struct qemu_plugin_tb *block) {
    uint64_t number = qemu_plugin_tb_n_insns(block);
    (void)plugin;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &instructions, number);
}

static void ended(id plugin, void *user) {
    (void)plugin, (void)user;
    fprintf(stderr, "instructions: %llu\n", (unsigned long long)instructions);
}

int qemu_plugin_install(id plugin, const void *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated);
    qemu_plugin_register_atexit_cb(plugin, ended, NULL);
    return 0;
}
