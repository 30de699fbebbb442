/* Files that the command leaves in memory where the caller has folders of the same name. */
#ifndef FOLDER_UNKEPT_H
#define FOLDER_UNKEPT_H
#include "resolve.h"

/* Remembers an entry that a relative path names, if it lies outside of all binds, as "../out" does. `base` is the caller's working
 * folder. */
void note_relative(int base, const struct target *target);
/* Reports those entries, and others beside the folder and in HOME, that are there when the command ends. */
void report_unkept(void);

#endif
