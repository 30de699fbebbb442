/* The program inside the wall, and the loading of filters. */
#ifndef SENTINEL_ENTER_H
#define SENTINEL_ENTER_H
#include <stddef.h>
#include <stdint.h>

int load_filter(unsigned long flags, const unsigned char *code, uint32_t bytes);
_Noreturn void cannot(const char *what);
/* Reads both filters, each after its length (u32), from their descriptor, and closes that. Returns the bytes of both. */
size_t read_filters(unsigned char **filters);
/* Loads both filters, and hands the listener over: by its number, or `by_rights` in the message itself. Ends the process
 * where it cannot. */
void hand_over(unsigned char *filters, size_t bytes, int by_rights);
_Noreturn void enter(char **argv);

#endif
