/* What the example asks of a board: a way to print, a way to end, a painted stack. */
#ifndef BOARD_H
#define BOARD_H
#include <stddef.h>

/* Prints a string that ends with a zero. */
void board_print(const char *text);
/* Ends the program; 0 is success. */
_Noreturn void board_exit(int code);
/* The most bytes of stack that were in use so far. */
size_t board_stack_peak(void);

#endif
