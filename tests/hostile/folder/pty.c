/*
 * Runs a program on a terminal of its own: `pty COLUMNS ROWS PROGRAM [ARG...]`. Standard input is typed there, what the
 * terminal shows goes to standard output, and the exit code is the program's (128 and more for a signal).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void become(int master, char **argv) {
  int slave = open(ptsname(master), O_RDWR);
  setsid();
  ioctl(slave, TIOCSCTTY, 0);
  for (int fd = 0; fd < 3; fd++) dup2(slave, fd);
  close(slave);
  close(master);
  execvp(argv[0], argv);
  _exit(127);
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  struct winsize size = {.ws_col = (unsigned short)atoi(argv[1]), .ws_row = (unsigned short)atoi(argv[2])};
  int master = posix_openpt(O_RDWR | O_NOCTTY), status = 0;
  if (master < 0 || grantpt(master) || unlockpt(master) || ioctl(master, TIOCSWINSZ, &size)) return 2;
  pid_t pid = fork();
  if (pid == 0) become(master, argv + 3);
  struct pollfd on[] = {{.fd = master, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  char chunk[4096];
  for (;;) {
    poll(on, 2, -1);
    if (on[1].revents) {
      ssize_t n = read(0, chunk, sizeof chunk);
      if (n > 0 && write(master, chunk, (size_t)n) < 0) break;
      if (n <= 0) on[1].fd = -1;
    }
    if (on[0].revents) {
      ssize_t n = read(master, chunk, sizeof chunk);
      if (n <= 0 || write(1, chunk, (size_t)n) < 0) break;
    }
  }
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
