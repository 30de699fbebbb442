/* Lines to the warden. See README.md for the protocol. */
#ifndef SENTINEL_LINES_H
#define SENTINEL_LINES_H
#include <stddef.h>
#include <stdio.h>
#include "wall.h"

/* Fill levels of the buffer up to which lines of a kind are accepted. Each kind has room that the kinds before it cannot fill:
 * a flood of file reports hides no exec, even if the warden reads late. */
enum {
  OUT_BYTES_REST = 96 << 10,
  OUT_BYTES_REFUSALS = 128 << 10,
  OUT_BYTES_EXECS = 192 << 10,
  OUT_BYTES_SECRETS = 224 << 10,
  OUT_BYTES_MAX = 256 << 10,
  /* Seven names, six bytes for each of theirs: path, file and interpreters of an exec. */
  LINE_BYTES_MAX = 12 << 10,
  SHOWN_BYTES_MAX = 256
};

/* Reports caused by the guest leave room for these, so a full buffer here means that the warden stopped
 * reading. */
#define SEND_LINE(...)                                                      \
  do {                                                                \
    char line_[LINE_BYTES_MAX];                                       \
    int n_ = snprintf(line_, sizeof line_, __VA_ARGS__);              \
    if (!queue_line(OUT_BYTES_MAX, line_, n_)) end_wall(LOST_WARDEN); \
  } while (0)

int has_unsent(void);

void flush_out(void);
int queue_line(size_t pids_max_fd, const char *line, int n);
void quote(char *to, size_t room, const char *from);
void quote_end(char *to, size_t room, const char *from);

#endif
