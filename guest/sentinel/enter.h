/* The program inside the wall, and the loading of filters. */
#ifndef SENTINEL_ENTER_H
#define SENTINEL_ENTER_H
#include <stdint.h>

int load_filter(unsigned long flags, const unsigned char *code, uint32_t bytes);
_Noreturn void cannot(const char *what);
_Noreturn void enter(char **argv);

#endif
