/* A plugin of qemu's that prints how many instructions a program of one thread
 * ran. Debian ships no header for plugins; these are the parts of it (API
 * version 1, qemu 4.2 and later) that are used. */
#include <inttypes.h>
#include <stdio.h>

typedef uint64_t id_type;
struct qemu_plugin_tb;
enum { ADD_U64 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(id_type, void (*)(id_type, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern void qemu_plugin_register_atexit_cb(id_type, void (*)(id_type, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern void qemu_plugin_outs(const char *);

int qemu_plugin_version = 1;

static uint64_t instructions;

static void translated(id_type id, struct qemu_plugin_tb *block)
{
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &instructions, qemu_plugin_tb_n_insns(block));
}

static void finished(id_type id, void *nothing)
{
    char line[64];
    snprintf(line, sizeof line, "instructions: %" PRIu64 "\n", instructions);
    qemu_plugin_outs(line);
}

int qemu_plugin_install(id_type id, const void *info, int argc, char **argv)
{
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
