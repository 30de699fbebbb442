"""Terminals of a Python session, on the manager's side.

Problem: a shell with job control, an editor or a password prompt needs a terminal. The server must not hold one, and must not
buffer a guest's output without bound.

Mechanism: each terminal is a pty of the wall's own devpts. The manager keeps the master; the program is the leader of its own
POSIX session, with the slave as controlling terminal. Bytes cross the wall in frames with the id of the terminal, with flow
control: at most `WINDOW_BYTES` unacknowledged bytes in each direction. While the window is full the master is not read, and
the program blocks (back-pressure). When the terminal is closed or its program exits, all processes of its POSIX session get
SIGHUP, and SIGKILL a second later: in passes over /proc until two in a row neither find nor miss a new process, because a program may
fork while it is searched for.

Relies on: openpty(3), TIOCSCTTY, and /proc to find the processes of a session; without /proc only their group is killed.

Not handled: a program that calls setsid(2) continues, like background work; so does one that forks faster than all passes find it."""

import _signal
import _struct
import errno
import os
import select
import time

import mayfly_json
import mayfly_wire

TERMINALS_MAX = 4
WINDOW_BYTES = 262_144
CHUNK_BYTES = 16_384
# Reads per poll: a terminal that floods its output must not delay the others.
CHUNKS_MAX = 4
WRITE_BYTES = 4096
# Received bytes after which the window is acknowledged to the sender.
ACK_BYTES = 16_384
HANG_UP_SECONDS = 1.0
# Passes over /proc of one attempt to kill a session, and the attempts, a second apart.
KILL_PASSES_MAX = 50
KILL_ATTEMPTS_MAX = 5
# Passes in a row without a new process: a child that is being forked during one is found by the next.
CLEAN_PASSES = 2
# Numbers after that of the last process that are tried in each pass: of its children, by the time it has been read.
NUMBERS_AHEAD = 64
# Wait for the last output of an exited program if another process keeps the slave open.
DRAIN_SECONDS = 0.25
# Variables for programs without a terminal, by src/contract/default-variables.ts.
UNATTENDED = {"GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "false", "GIT_SEQUENCE_EDITOR": "false", "PAGER": "cat"}
FULL = f"Cannot open a terminal: the session has {TERMINALS_MAX} already"


class Terminals:
    def __init__(self, manager):
        self.manager = manager
        self.open = {}
        # (time, leader, attempts) of POSIX sessions to kill at that time.
        self.doomed = []

    def ordered(self, asked):
        terminal = self.open.get(asked["id"])
        if "open" in asked:
            return self.begin(asked["id"], asked["open"])
        # Race: the terminal may have ended while the request was in flight.
        if terminal is None:
            return None
        if "resize" in asked:
            return terminal.resize(asked["resize"])
        if "signal" in asked:
            return terminal.signal(asked["signal"])
        if "taken" in asked:
            terminal.in_flight -= asked["taken"]
            return None
        self.hang_up(terminal)
        return terminal.close()

    def typed(self, payload):
        end = payload.index(b"\n")
        terminal = self.open.get(mayfly_json.loads(payload[:end])["id"])
        if terminal:
            terminal.pending += memoryview(payload)[end + 1 :]
            terminal.write()

    def begin(self, name, asked):
        try:
            if len(self.open) >= TERMINALS_MAX:
                raise OSError(FULL)
            self.open[name] = _Terminal(name, asked, self.manager)
            note(name, opened=True)
        except (OSError, ImportError) as error:
            note(name, error={"message": str(getattr(error, "strerror", None) or error)[:200]})

    def register(self, poller):
        for terminal in self.open.values():
            events = terminal.events()
            # Not registered without events: poll(2) would report POLLHUP of a closed slave at once, always.
            if events:
                poller.register(terminal.master, events)

    def wait(self, timeout):
        """Milliseconds to the next deadline, at most `timeout`; None without any."""
        times = [at for at, _, _ in self.doomed] + [one.drained_at for one in self.open.values() if one.drained_at]
        if not times:
            return timeout
        own = max(0, min(times) - time.monotonic()) * 1000
        return own if timeout is None else min(own, timeout)

    def exchange(self, ready):
        now = time.monotonic()
        for terminal in list(self.open.values()):
            events = ready.get(terminal.master, 0)
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                terminal.read()
            if events & select.POLLOUT:
                terminal.write()
            if terminal.is_over(now):
                del self.open[terminal.name]
                terminal.close()
                note(terminal.name, ended=terminal.ended)
        due = [one for one in self.doomed if one[0] <= now]
        self.doomed = [one for one in self.doomed if one[0] > now]
        for _, leader, attempts in due:
            if not _kill_session(leader) and attempts < KILL_ATTEMPTS_MAX:
                self.doomed.append((time.monotonic() + HANG_UP_SECONDS, leader, attempts + 1))

    def reaped(self, pid, ended):
        """Handles the exit of a terminal's program; False if `pid` is none."""
        for terminal in self.open.values():
            if terminal.pid == pid and terminal.ended is None:
                terminal.ended = ended
                self.hang_up(terminal)
                terminal.read()
                return True
        return False

    def hang_up(self, terminal):
        for number in (_signal.SIGHUP, _signal.SIGCONT):
            _signal_session(terminal.pid, number)
        self.doomed.append((time.monotonic() + HANG_UP_SECONDS, terminal.pid, 1))

    def forget(self):
        """Closes the masters in a fork of the manager."""
        for terminal in self.open.values():
            terminal.close()


class _Terminal:
    def __init__(self, name, asked, manager):
        self.name = name
        self.pending = bytearray()
        self.taken = 0
        self.in_flight = 0
        self.ended = None
        self.is_read = False
        self.drained_at = None
        self.master, slave = os.openpty()
        try:
            self.resize(asked)
            os.set_blocking(self.master, False)
            # The child would handle it as the manager does, until it has reset the handler.
            unblocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGINT,))
            try:
                self.pid = os.fork()
                if self.pid == 0:
                    _become(slave, asked, manager, unblocked)
            finally:
                _signal.pthread_sigmask(_signal.SIG_SETMASK, unblocked)
        except BaseException:
            os.close(self.master)
            os.close(slave)
            raise
        os.close(slave)

    def resize(self, asked):
        # Closed already, with a program that has not ended yet.
        if self.master < 0:
            return
        fcntl, termios = _control()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, _struct.pack("HHHH", asked["rows"], asked["cols"], 0, 0))

    def signal(self, name):
        """Signals the foreground process group, as the keyboard would."""
        try:
            os.killpg(self.foreground(), getattr(_signal, name))
        except ProcessLookupError:
            # The child has no group of its own before its setsid.
            if self.ended is None:
                _signal_each(os.kill, self.pid, getattr(_signal, name))
        except OSError:
            pass

    def foreground(self):
        try:
            return os.tcgetpgrp(self.master) or self.pid
        except OSError:
            return self.pid

    def events(self):
        if self.master < 0:
            return 0
        is_read = not self.is_read and self.in_flight < WINDOW_BYTES
        return (select.POLLIN if is_read else 0) | (select.POLLOUT if self.pending and not self.is_read else 0)

    def read(self):
        for _ in range(CHUNKS_MAX):
            room = min(CHUNK_BYTES, WINDOW_BYTES - self.in_flight)
            if self.master < 0 or self.is_read or room <= 0:
                return
            chunk = self.gather(room)
            if not chunk:
                return
            self.in_flight += len(chunk)
            mayfly_wire.send(mayfly_wire.TERMINAL_OUTPUT, f'{{"id":"{self.name}"}}\n'.encode() + chunk)

    def gather(self, room):
        """A pair gives some of its bytes at a time."""
        chunk = bytearray()
        while len(chunk) < room:
            try:
                some = os.read(self.master, room - len(chunk))
            except BlockingIOError:
                break
            except OSError:
                some = b""
            if not some:
                self.is_read = True
                break
            chunk += some
        return chunk

    def write(self):
        try:
            while self.pending and self.master >= 0:
                count = os.write(self.master, memoryview(self.pending)[:WRITE_BYTES])
                del self.pending[:count]
                self.taken += count
        except BlockingIOError:
            pass
        except OSError:
            self.taken += len(self.pending)
            self.pending.clear()
        if self.taken >= ACK_BYTES or not self.pending and self.taken:
            note(self.name, taken=self.taken)
            self.taken = 0

    def is_over(self, now):
        if self.ended is None:
            return False
        if self.is_read or self.master < 0:
            return True
        if self.in_flight >= WINDOW_BYTES:
            # Back-pressure: a slow reader gets all of the output.
            self.drained_at = None
            return False
        self.drained_at = self.drained_at or now + DRAIN_SECONDS
        return now >= self.drained_at

    def close(self):
        if self.master >= 0:
            os.close(self.master)
        self.master = -1


def note(name, **what):
    mayfly_wire.send(mayfly_wire.TERMINAL_NOTE, mayfly_json.dumps({"protocol": 1, "id": name, **what}).encode())


def _control():
    """Imports the ioctl modules at the first terminal: most sessions open none, and imports delay the opening."""
    import fcntl
    import termios

    return fcntl, termios


def _attended(env):
    return {name: value for name, value in env.items() if UNATTENDED.get(name) != value}


def _become(slave, asked, manager, unblocked):
    """The forked child of a terminal; never returns."""
    try:
        os.setsid()
        _signal.set_wakeup_fd(-1)
        for number in (_signal.SIGCHLD, _signal.SIGINT, _signal.SIGPIPE, _signal.SIGXFSZ):
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, unblocked)
        fcntl, termios = _control()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(slave, fd)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.chdir(manager.work)
        command = asked["command"]
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]
        own = {"TERM": asked["term"], "HISTFILE": ""}
        os.execvpe(words[0], words, {**_attended(os.environ), **own, **(asked.get("env") or {})})
    except BaseException as error:
        os.write(2, f"{error}\r\n".encode())
        os._exit(127 if getattr(error, "errno", 0) == errno.ENOENT else 126)


def _signal_session(leader, number):
    for pid in _pids():
        if _group_and_session(pid)[1] == leader:
            _signal_each(os.kill, pid, number)
    _signal_each(os.killpg, leader, number)


def _kill_session(leader):
    """False if the last pass found another process. The kernel kills a group at once, with children that are being forked."""
    _signal_each(os.killpg, leader, _signal.SIGKILL)
    seen = set()
    clean = 0
    for _ in range(KILL_PASSES_MAX):
        before = len(seen)
        # A process that forks on is gone before it is listed, but its children have the next numbers.
        last = _last_pid()
        for pid in range(last, last + NUMBERS_AHEAD) if last else ():
            _end(pid, leader, seen)
        # The newest first. Gone before it was read: perhaps a process of the session, whose child lives.
        for pid in reversed(_pids()):
            if _end(pid, leader, seen) is None:
                seen.add(pid)
        clean = clean + 1 if len(seen) == before else 0
        if clean == CLEAN_PASSES:
            return True
    return False


def _end(pid, leader, seen):
    """Kills a process of the session, with its group. Its POSIX session; None if it is gone."""
    group, session = _group_and_session(pid)
    if session == leader:
        _signal_each(os.killpg, group, _signal.SIGKILL)
        _signal_each(os.kill, pid, _signal.SIGKILL)
        seen.add(pid)
    return session


def _last_pid():
    """The number that the kernel gave last; 0 if unknown."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


def _signal_each(send, target, number):
    try:
        send(target, number)
    except OSError:
        pass


def _pids():
    """In the order of their numbers; none without /proc."""
    try:
        return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    except OSError:
        return []


def _group_and_session(pid):
    """None for both if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[2]), int(fields[3])
    except (OSError, ValueError, IndexError):
        return None, None
