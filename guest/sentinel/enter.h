/* The program inside the wall, and the loading of filters. */
#ifndef SENTINEL_ENTER_H
#define SENTINEL_ENTER_H
#include <stddef.h>
#include <stdint.h>

int load_filter(unsigned long flags, const unsigned char *code, uint32_t bytes);
_Noreturn void cannot(const char *what);
/* Loads both filters, each after its length (u32), and hands the listener over. Ends the process where it cannot. */
void hand_over(unsigned char *filters, size_t bytes);
_Noreturn void enter(char **argv);

#endif
