/* Boards that qemu emulates: Arm's MPS2 with a Cortex-M4 (AN386), and the
 * `virt` machines of AArch64 and RISC-V. Printing is by semihosting, which real
 * boards have too while a debugger is attached. */
#include "board.h"
#include <stdint.h>

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20 };
#define ADP_STOPPED_APPLICATION_EXIT 0x20026

/* Symbols of the linker script: the stack grows down from the end to the start. */
extern uint32_t stack_start[], stack_end[];
#define PAINT 0xC0DEC0DEu

int main(void);
void start(void);

static long semihost(long operation, const void *argument)
{
#if defined(__aarch64__)
    register long result __asm__("x0") = operation;
    register const void *in __asm__("x1") = argument;
    __asm__ volatile("hlt #0xf000" : "+r"(result) : "r"(in) : "memory");
#elif defined(__riscv)
    register long result __asm__("a0") = operation;
    register const void *in __asm__("a1") = argument;
    __asm__ volatile(".option push\n.option norvc\n"
                     "slli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n"
                     ".option pop"
                     : "+r"(result)
                     : "r"(in)
                     : "memory");
#else
    register long result __asm__("r0") = operation;
    register const void *in __asm__("r1") = argument;
    __asm__ volatile("bkpt #0xab" : "+r"(result) : "r"(in) : "memory");
#endif
    return result;
}

void board_print(const char *text)
{
    semihost(SYS_WRITE0, text);
}

void board_exit(int code)
{
    const long block[2] = {ADP_STOPPED_APPLICATION_EXIT, code};
    semihost(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

size_t board_stack_peak(void)
{
    const uint32_t *word = stack_start;
    while (word < stack_end && *word == PAINT)
        word++;
    return (size_t)(stack_end - word) * sizeof *word;
}

/* Runs on the stack that it paints, so it does not paint its own frame and above. */
void start(void)
{
    uint32_t *here = __builtin_frame_address(0);
    for (volatile uint32_t *word = stack_start; word + 64 < here; word++)
        *word = PAINT;
    main();
    board_exit(3);
}

#if defined(__aarch64__)
/* Sets the stack pointer and enables floating point. */
__asm__(".section .boot, \"ax\"\n.globl reset\nreset:\n"
        "ldr x0, =stack_end\nmov sp, x0\n"
        "mov x1, #(3 << 20)\nmsr cpacr_el1, x1\nisb\n"
        "bl start\n");
#elif defined(__riscv)
/* Sets the stack pointer and enables floating point if the CPU has it. */
__asm__(".section .boot, \"ax\"\n.globl reset\nreset:\n"
        "la sp, stack_end\nli t0, 0x2000\ncsrs mstatus, t0\n"
        "call start\n");
#else
/* Enables floating point: coprocessors 10 and 11 in CPACR. */
void reset(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
    __asm__ volatile("dsb\nisb");
    start();
}

__attribute__((section(".boot"), used)) static const void *const vectors[2] = {stack_end, reset};
#endif
