/* The program inside the wall, and the loading of filters. */
#ifndef SENTINEL_ENTER_H
#define SENTINEL_ENTER_H
#include <stddef.h>
#include <stdint.h>

int load_filter(unsigned long flags, const unsigned char *code, uint32_t bytes);
_Noreturn void cannot(const char *what);
/* Reads both filters, each prefixed by its length (u32), and closes their descriptor. Returns the total of bytes. */
size_t read_filters(unsigned char **filters);
/* Loads both filters, and hands over the listener: by its number, or with `by_rights` by SCM_RIGHTS. Exits on failure. */
void hand_over(unsigned char *filters, size_t bytes, int by_rights);
_Noreturn void enter(char **argv);

#endif
