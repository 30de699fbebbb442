/* Closes the last descriptor of a connection that lingers, with data that its other end never reads, as a supervisor does. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <string.h>

#include "../../../guest/sentinel/caller.c"

enum { LINGER_S = 3600 };

struct wall wall;

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
  /* No signal of the wall interrupts a supervisor afterwards: its process 1 ignores one without a handler. */
  struct sigaction after;
  sigaction(SIGALRM, NULL, &after);
  puts(after.sa_handler == SIG_DFL ? "closed" : "has a handler");
  return 0;
}
