/* Masks over parts of /proc, and the capabilities that they take. */
#ifndef SENTINEL_MASKS_H
#define SENTINEL_MASKS_H

/* Carries out `mask COUNT FROM AT...`, as often as it is there; returns the words after it. */
char **mask(char **argv);

#endif
