/* Masks parts of /proc, and drops the capabilities needed for that. */
#ifndef SENTINEL_MASKS_H
#define SENTINEL_MASKS_H

/* Executes each `mask COUNT FROM AT...`; returns the arguments after them. */
char **mask(char **argv);

#endif
