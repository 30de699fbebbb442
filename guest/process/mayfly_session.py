"""Session of language python: manages one kernel after another.

Problem: a single process could not interrupt a cell that computes, nor survive a cell that exits; and user code in the
process that holds the control socket could forge the results of all later execs.

Mechanism: this process, forked from a warm runner, never runs user code. It forks kernels (`mayfly_kernel`), which run the
cells, and forwards their frames with the id of the running exec. An interrupt is SIGINT to the kernel, then to its
process group; a kernel that does not react within a second is killed and replaced, and its state is lost. This process also
serves files, even while a cell runs.

Relies on: fork, a wakeup descriptor for SIGCHLD (gVisor versions without pidfds exist), non-blocking sockets to the kernel.

Not handled: a kernel has the same uid and can kill this process, which ends the session. A kernel's reports about its own
exec are untrusted, like those of any job."""

import _signal
import _struct
import errno
import os
import select
import stat
import time

import mayfly_entries
import mayfly_ground
import mayfly_json
import mayfly_kernel
import mayfly_template
import mayfly_terminal
import mayfly_wire

INTERRUPT_SECONDS_MAX = 1.0
# Time after which the kernel's process group is interrupted as well, that is programs that the cell waits for.
GROUP_SECONDS = 0.3
REAP_SECONDS = 0.5
RENEW_SECONDS_MAX = 10
CHUNK_BYTES = 262_144
# Below malloc's threshold for mmap, which would map memory at each read.
READ_BYTES = 65_536
# Reads per poll: a kernel that floods its socket must not delay deadlines and requests.
READS_MAX = 64
LAST_CHUNKS_MAX = 512
KERNEL_FRAME_BYTES_MAX = 96 * 2**20
ENTRIES_MAX = 1000
PATH_CHARS_MAX = 1024
# The server limits the head of a reply. ENTRY_CHARS: JSON of an entry without its path.
LISTING_CHARS_MAX = 200_000
ENTRY_CHARS = 90
SAFE_MS_MAX = 8_640_000_000_000_000
DEPTH_MAX = 32
STATUSES = ("ok", "error")
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def serve(task, settings, pristine):
    """Serves execs until the server closes the control socket; never returns."""
    try:
        path = mayfly_ground.lay_out(task, settings)[1]
    except BaseException as error:
        mayfly_entries.Job(task, settings).refuse(error)
        os._exit(1)
    _Manager(task, settings, pristine, path).serve()


class _Manager:
    def __init__(self, task, settings, pristine, path):
        self.task = task
        self.settings = settings
        self.pristine = pristine
        self.path = path
        self.work = settings["work"]
        self.kernel = None
        self.channel = -1
        self.request_buffer = bytearray()
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.poller = None
        self.exec = None
        self.command = None
        self.terminals = mayfly_terminal.Terminals(self)
        # True if a kernel exited between execs or during a command; the next exec reports its state as lost.
        self.is_lost = False
        # True from the order to draw random values anew, in a forked machine, until the kernel has done it.
        self.is_renewing = False
        self.deadlines = []
        self.wake, wake_end = os.pipe()
        for fd in (self.wake, wake_end):
            os.set_blocking(fd, False)
        _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)
        _signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)

    def serve(self):
        self.start()
        self.released()
        while True:
            self.poll()

    def released(self):
        mayfly_wire.send(mayfly_wire.RELEASED, b"%.6f" % (time.monotonic() * 1000))

    def forked(self):
        """Its machine was forked, and this one is the copy. Kernels that this process forks later are renewed with it."""
        mayfly_template.renew()
        self.is_renewing = True
        self.deadlines.append((time.monotonic() + RENEW_SECONDS_MAX, self.not_renewed))
        self.send_to_kernel(mayfly_wire.FORKED, b"{}")

    def not_renewed(self):
        """A kernel that does not answer is replaced: it would share its random values."""
        if self.is_renewing:
            self.replace({"signal": "SIGKILL"})

    def renewed(self):
        self.is_renewing = False
        self.deadlines.clear()
        self.released()

    def start(self):
        ours, theirs = mayfly_kernel.pair()
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            self.terminals.forget()
            for fd in (self.wake, self.channel):
                if fd >= 0:
                    try:
                        os.close(fd)
                    except OSError:
                        pass
            mayfly_kernel.run(theirs, self.task, self.settings, self.pristine, self.path)
        try:
            os.setpgid(pid, pid)
        except OSError:
            # Race: the kernel has already set its own group.
            pass
        os.close(theirs)
        os.set_blocking(ours, False)
        if self.channel >= 0:
            os.close(self.channel)
        self.kernel, self.channel, self.poller = pid, ours, None
        self.incoming, self.outgoing = bytearray(), bytearray()

    def poll(self):
        if self.poller is None or self.outgoing or self.terminals.open:
            poller = self.new_poller()
            # Reused unless it depends on pending output or terminals.
            self.poller = None if self.outgoing or self.terminals.open else poller
        else:
            poller = self.poller
        ready = dict(poller.poll(self.terminals.wait(self.wait_ms())))
        if self.channel in ready:
            self.exchange(ready[self.channel])
        if self.wake in ready or self.command or self.terminals.open:
            self.reap()
        if mayfly_wire.CONTROL_FD in ready:
            self.read_requests()
        self.terminals.exchange(ready)
        while self.deadlines and self.deadlines[0][0] <= time.monotonic():
            self.deadlines.pop(0)[1]()

    def new_poller(self):
        poller = select.poll()
        poller.register(mayfly_wire.CONTROL_FD, select.POLLIN)
        poller.register(self.wake, select.POLLIN)
        poller.register(self.channel, select.POLLIN | (select.POLLOUT if self.outgoing else 0))
        self.terminals.register(poller)
        return poller

    def read_requests(self):
        """Reads requests of the server; an incomplete frame waits for the next poll."""
        chunk = os.read(mayfly_wire.CONTROL_FD, READ_BYTES)
        self.request_buffer += chunk
        if not chunk:
            self.handle_request(None, b"")
        while len(self.request_buffer) >= 5:
            length, kind = _struct.unpack_from("<IB", self.request_buffer)
            if not 1 <= length <= mayfly_wire.FRAME_BYTES_MAX:
                self.handle_request(None, b"")
            if len(self.request_buffer) < length + 4:
                return
            payload = bytes(memoryview(self.request_buffer)[5 : length + 4])
            del self.request_buffer[: length + 4]
            self.handle_request(kind, payload)

    def wait_ms(self):
        """Milliseconds until the next deadline. While a command runs its exit is also polled: a process of the same uid can
        drain the wakeup pipe through /proc."""
        if not self.deadlines and not self.command:
            return None
        waits = [max(0, at - time.monotonic()) for at, _ in self.deadlines[:1]]
        if self.command:
            waits.append(REAP_SECONDS)
        return min(waits) * 1000 if waits else None

    def handle_request(self, kind, payload):
        if kind == mayfly_wire.EXEC:
            return self.begin(mayfly_json.loads(payload), payload)
        if kind == mayfly_wire.INTERRUPT:
            if self.exec and mayfly_json.loads(payload)["id"] == self.exec["id"]:
                self.interrupt()
            return None
        if kind == mayfly_wire.FILE:
            end = payload.index(b"\n")
            return self.file(mayfly_json.loads(payload[:end]), memoryview(payload)[end + 1 :])
        if kind == mayfly_wire.TERMINAL:
            return self.terminals.ordered(mayfly_json.loads(payload))
        if kind == mayfly_wire.TERMINAL_INPUT:
            return self.terminals.typed(payload)
        if kind == mayfly_wire.FORKED:
            return self.forked()
        # The server closed the socket, or sent an unknown frame.
        self.kill_group(self.kernel, _signal.SIGKILL)
        return os._exit(0 if kind is None else 1)

    def begin(self, asked, payload):
        if self.exec:
            os._exit(1)
        self.exec = asked
        if "command" in asked:
            return self.start_command(asked)
        self.send_to_kernel(mayfly_wire.EXEC, payload)

    def send_to_kernel(self, kind, payload):
        self.outgoing += _struct.pack("<IB", len(payload) + 1, kind) + payload
        self.flush_to_kernel()

    def flush_to_kernel(self):
        try:
            while self.outgoing:
                del self.outgoing[: os.write(self.channel, memoryview(self.outgoing)[:CHUNK_BYTES])]
        except BlockingIOError:
            pass
        except OSError:
            self.outgoing.clear()

    def exchange(self, events):
        if events & select.POLLOUT:
            self.flush_to_kernel()
        if events & (select.POLLIN | select.POLLHUP):
            self.read_kernel()

    def read_kernel(self):
        """Reads a bounded number of chunks from the kernel."""
        for _ in range(READS_MAX):
            try:
                chunk = os.read(self.channel, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                chunk = b""
            if not chunk:
                # The kernel exited, or closed its socket and could never report an end.
                return self.replace(self.wait_for_status() or {"signal": "SIGKILL"})
            self.incoming += chunk
            if not self.handle_frames():
                return self.replace({"signal": "SIGKILL"})
            if len(chunk) < READ_BYTES:
                # Short read: no more data; the next poll reports a closed socket.
                return

    def wait_for_status(self):
        """Waits up to 50 ms for the exit status of a kernel whose socket was closed; None if it still runs."""
        for _ in range(50):
            try:
                pid, status = os.waitpid(self.kernel, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid:
                return _exit_of(status)
            time.sleep(0.001)
        return None

    def handle_frames(self):
        """Handles complete frames; False for an invalid frame."""
        while len(self.incoming) >= 5:
            length, kind = _struct.unpack_from("<IB", self.incoming)
            if not 1 <= length <= KERNEL_FRAME_BYTES_MAX:
                return False
            if len(self.incoming) < length + 4:
                return True
            payload = bytes(memoryview(self.incoming)[5 : length + 4])
            del self.incoming[: length + 4]
            if not self.handle_frame(kind, payload):
                return False
        return True

    def handle_frame(self, kind, payload):
        if self.is_renewing and kind == mayfly_wire.FORKED:
            self.renewed()
            return True
        if self.exec is None or self.command:
            # Dropped: no cell is running.
            return True
        if kind in (mayfly_wire.ARTIFACT, mayfly_wire.DISPLAY):
            mayfly_wire.send(kind, payload)
            return True
        if kind != mayfly_wire.EXEC_END:
            return False
        try:
            cut = payload.index(b"\n")
            head = mayfly_json.loads(payload[:cut])
            is_end = head.get("id") == self.exec["id"] and head.get("status") in STATUSES
        except (ValueError, AttributeError, RecursionError):
            return False
        if is_end:
            state = "lost" if self.is_lost else "kept"
            self.is_lost = False
            if head.get("state") != state:
                payload = mayfly_json.dumps({**head, "state": state}).encode() + payload[cut:]
            self.over(payload)
        return True

    def over(self, payload):
        self.exec = None
        self.command = None
        self.deadlines.clear()
        mayfly_wire.send(mayfly_wire.EXEC_END, payload)

    def end(self, meta, **more):
        head = {"protocol": 1, "id": self.exec["id"], "encoding": "json", "cpuTimeMs": 0, "executionMs": 0, **meta, **more}
        self.over((mayfly_json.dumps(head) + "\n" + ("null" if head["status"] == "ok" else "")).encode())

    def interrupt(self):
        now = time.monotonic()
        target = self.command[0] if self.command else self.kernel
        if self.command:
            self.kill_group(target, _signal.SIGINT)
            self.kill(target, _signal.SIGINT)
            stuck = lambda: (self.kill_group(target, _signal.SIGKILL), self.kill(target, _signal.SIGKILL))
        else:
            self.kill(target, _signal.SIGINT)
            stuck = lambda: self.replace({"signal": "SIGKILL"})
            self.deadlines.append((now + GROUP_SECONDS, lambda: self.kill_group(target, _signal.SIGINT)))
        self.deadlines.append((now + INTERRUPT_SECONDS_MAX, stuck))

    def reap(self):
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.command and pid == self.command[0]:
                self.command_ended(status)
            elif pid == self.kernel:
                self.kernel_ended(status)
            else:
                self.terminals.reaped(pid, _exit_of(status))

    def kernel_ended(self, status):
        """Handles frames that the kernel sent before it exited, and replaces it."""
        channel = self.channel
        if self.exec and not self.command:
            self.read_last()
        if channel == self.channel:
            self.replace(_exit_of(status), is_dead=True)

    def read_last(self):
        try:
            for _ in range(LAST_CHUNKS_MAX):
                chunk = os.read(self.channel, CHUNK_BYTES)
                if not chunk:
                    break
                self.incoming += chunk
        except OSError:
            pass
        self.handle_frames()

    def replace(self, ended, is_dead=False):
        """Replaces the kernel; ends the running exec with its state lost."""
        old = self.kernel
        self.kill_group(old, _signal.SIGKILL)
        if not is_dead:
            self.kill(old, _signal.SIGKILL)
            try:
                os.waitpid(old, 0)
            except ChildProcessError:
                pass
        self.start()
        if self.exec and not self.command:
            message = _why(ended)
            self.end({"status": "error", **ended, "error": {"code": "EXIT", "message": message}}, state="lost")
        else:
            self.is_lost = True
        if self.is_renewing:
            self.renewed()

    def start_command(self, asked):
        command = asked["command"]
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _exec(words, self, asked)
        self.command = (pid, began)

    def command_ended(self, status):
        _, began = self.command
        took = (time.monotonic() - began) * 1000
        ended = _exit_of(status)
        if ended == {"exitCode": 0}:
            return self.end({"status": "ok", **ended}, state="kept", executionMs=took)
        error = {"code": "EXIT", "message": _why(ended)}
        return self.end({"status": "error", **ended, "error": error}, state="kept", executionMs=took)

    def kill(self, pid, number):
        try:
            os.kill(pid, number)
        except OSError:
            pass

    def kill_group(self, pid, number):
        try:
            os.killpg(pid, number)
        except OSError:
            pass

    def file(self, asked, data):
        head, answer = {"protocol": 1, "id": asked["id"]}, b""
        try:
            place = _below(self.work, asked["path"])
            if asked["op"] == "put":
                _put(self.work, place, data)
                head["size"] = len(data)
            elif asked["op"] == "get":
                answer = _get(self.work, place, asked["bytesMax"])
                head["size"] = len(answer)
            else:
                head.update(_listed(self.work, place))
        except (OSError, ValueError, RecursionError) as error:
            head["error"] = _file_error(error, asked["path"])
        mayfly_wire.send(mayfly_wire.FILED, (mayfly_json.dumps(head) + "\n").encode() + answer)


def _exec(words, manager, asked):
    """The forked child of a command; never returns."""
    try:
        os.setpgid(0, 0)
        _signal.set_wakeup_fd(-1)
        for number in (_signal.SIGCHLD, _signal.SIGINT):
            _signal.signal(number, _signal.SIG_DFL)
        os.chdir(manager.work)
        mayfly_ground.renew_input(asked, manager.settings)
        os.execvpe(words[0], words, {**os.environ, **(asked.get("env") or {})})
    except BaseException as error:
        os.write(2, f"{words[0] if words else ''}: {getattr(error, 'strerror', None) or error}\n".encode())
    os._exit(127)


def _exit_of(status):
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return {"signal": _signal_names().get(number, f"SIG{number}")}
    return {"exitCode": os.WEXITSTATUS(status)}


def _signal_names():
    """Names of signals, as in the `signal` module, whose import would double the time to open a session."""
    names = [name for name in dir(_signal) if name.startswith("SIG") and not name.startswith("SIG_")]
    return {int(getattr(_signal, name)): name for name in sorted(names, reverse=True)}


def _why(ended):
    if "signal" in ended:
        return f"The program was ended by {ended['signal']}"
    return f"The program exited with {ended['exitCode']}"


def _below(work, path):
    place = os.path.normpath(os.path.join(work, path))
    if place != work and not place.startswith(work + "/"):
        raise ValueError(f'Cannot reach "{path}": it is not below the working folder')
    return place


def _open_folder(work, place, makes=False):
    """Opens a folder of the working folder, and makes it if `makes`. A link may lead to another folder below the working
    folder, and no further: where it led is read on the descriptor, as code may replace a folder at any time (TOCTOU)."""
    fd = os.open(work, FOLDER)
    try:
        root = os.readlink(f"/proc/self/fd/{fd}")
        for step in place[len(work) + 1 :].split("/") if place != work else ():
            if makes:
                try:
                    os.mkdir(step, dir_fd=fd)
                except FileExistsError:
                    pass
            outer, fd = fd, os.open(step, FOLDER, dir_fd=fd)
            os.close(outer)
            real = os.readlink(f"/proc/self/fd/{fd}")
            if real != root and not real.startswith(root + "/"):
                raise ValueError(f'Cannot use "{os.path.relpath(place, work)}": a link leads out of the working folder')
        return fd
    except BaseException:
        os.close(fd)
        raise


def _put(work, place, data):
    """Writes a temporary file and renames it: a reader sees the old content or the new one (atomic)."""
    parent, name = os.path.split(place)
    if place == work:
        raise ValueError("Cannot put the working folder itself")
    folder = _open_folder(work, parent, makes=True)
    temporary = f".mayfly-put-{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            os.fchmod(fd, _mode_for(data, name, folder))
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        try:
            os.unlink(temporary, dir_fd=folder)
        except OSError:
            pass
        raise
    finally:
        os.close(folder)


def _mode_for(data, name, folder):
    """Mode of the file that is replaced; a new script is executable."""
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISREG(facts.st_mode):
            return facts.st_mode & 0o777
    except OSError:
        pass
    return 0o755 if bytes(data[:2]) == b"#!" else 0o644


def _get(work, place, bytes_max):
    parent, name = os.path.split(place)
    if place == work:
        raise ValueError("Cannot get the working folder itself")
    folder = _open_folder(work, parent)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("it is no plain file")
        if facts.st_size > bytes_max:
            raise OSError(errno.EFBIG, f"it has {facts.st_size} bytes, of at most {bytes_max}")
        chunks, at = [], 0
        while at < facts.st_size and (chunk := os.pread(fd, facts.st_size - at, at)):
            chunks.append(chunk)
            at += len(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


def _listed(work, place):
    folder = _open_folder(work, place)
    try:
        return _entries_below(f"/proc/self/fd/{folder}", os.path.relpath(place, work))
    finally:
        os.close(folder)


def _entries_below(top, shown):
    entries, folders, chars, is_cut = [], [(top, 0)], 0, False
    while folders:
        folder, depth = folders.pop(0)
        for entry in _entries_of(folder, depth):
            if entry.name.startswith(".mayfly-"):
                continue
            if len(entries) == ENTRIES_MAX:
                return {"entries": entries, "truncated": True}
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:
                # Race: deleted.
                continue
            kind = _kind_of(facts.st_mode)
            place = os.path.normpath(os.path.join(shown, os.path.relpath(entry.path, top)))
            name = place.encode("utf8", "replace").decode()
            if len(name) > PATH_CHARS_MAX:
                is_cut = True
                continue
            chars += len(mayfly_json.dumps(name)) + ENTRY_CHARS
            if chars > LISTING_CHARS_MAX:
                return {"entries": entries, "truncated": True}
            size = facts.st_size if kind == "file" else 0
            modified = min(max(0, facts.st_mtime_ns // 1_000_000), SAFE_MS_MAX)
            entries.append({"path": name, "type": kind, "size": size, "modifiedMs": modified})
            if kind == "folder" and depth < DEPTH_MAX:
                folders.append((entry.path, depth + 1))
    return {"entries": entries, **({"truncated": True} if is_cut else {})}


def _entries_of(folder, depth):
    try:
        return sorted(os.scandir(folder), key=lambda one: one.name)
    except OSError:
        # Race: deleted; or unreadable. A subfolder is listed without its entries.
        if depth == 0:
            raise
        return []


def _kind_of(mode):
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


CODES = {errno.ENOENT: "NOT_FOUND", errno.EFBIG: "TOO_LARGE", errno.ENOSPC: "DISK", errno.EDQUOT: "DISK"}


def _file_error(error, path):
    if not isinstance(error, OSError):
        return {"code": "INVALID", "message": str(error)[:500]}
    return {"code": CODES.get(error.errno, "INVALID"), "message": f'Cannot reach "{path[:200]}": {error.strerror}'}
