/* Calls of a supervisor that would wait: the close of the last descriptor of a connection that lingers, with data that its other end
 * never reads, and the connect of a blocking socket to one with a full backlog. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "../../../guest/sentinel/caller.c"

enum { LINGER_S = 3600 };

struct wall wall;

static int connects_in_time(void) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd;
  socklen_t size = sizeof at;
  /* A name that the kernel chooses. */
  if (bind(listener, (struct sockaddr *)&at, sizeof at.sun_family) || listen(listener, 0)) return 0;
  if (getsockname(listener, (struct sockaddr *)&at, &size)) return 0;
  do fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  while (connect(fd, (struct sockaddr *)&at, size) == 0);
  return connect_at_once(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&at, size) == EINTR;
}

int main(void) {
  static char data[1 << 16];
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  struct linger lingers = {1, LINGER_S};
  int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, 1)) return 1;
  if (getsockname(listener, (struct sockaddr *)&at, &size) || connect(fd, (struct sockaddr *)&at, size)) return 1;
  if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &lingers, sizeof lingers)) return 1;
  while (send(fd, data, sizeof data, MSG_DONTWAIT) > 0) continue;
  close_copy(fd);
  if (!connects_in_time()) return 1;
  /* No signal of the wall interrupts a supervisor afterwards: its process 1 ignores one without a handler. */
  struct sigaction after;
  sigaction(SIGALRM, NULL, &after);
  puts(after.sa_handler == SIG_DFL ? "in time" : "has a handler");
  return 0;
}
