"""Kernel of a Python session: a fork of the runner that runs one cell after another in the same `__main__`.

The manager (`mayfly_session`) holds the control socket; this process has only a socket to the manager. User code may break
this process in any way; the manager then starts another. Between cells the main thread blocks; other threads continue."""

import _signal
import _struct
import builtins
import inspect
import linecache
import os
import socket
import sys
import types

import mayfly_artifacts
import mayfly_display
import mayfly_entries
import mayfly_errors
import mayfly_ground
import mayfly_json
import mayfly_own
import mayfly_source
import mayfly_template
import mayfly_wire

READ_BYTES = 65_536
# Descriptors of the runner that a kernel closes.
NOT_OURS = (mayfly_wire.CONTROL_FD, mayfly_wire.READY_FD)
TOP_LEVEL_AWAIT = 0x2000
# In place of a cell: the machine of this kernel was forked.
FORKED = "forked"


def run(channel, task, settings, pristine, path):
    """Runs cells until the manager closes its socket; never returns."""
    try:
        kernel = _Kernel(channel, task, settings)
        kernel.begin(pristine, path)
        while True:
            try:
                frame = kernel.next_cell()
            except KeyboardInterrupt:
                # Race: the interrupt arrived after the end of its cell.
                continue
            if frame is None:
                break
            if frame == FORKED:
                kernel.renew()
            else:
                kernel.run(frame)
    except BaseException as error:
        # The kernel itself is broken; the manager sees it exit.
        try:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        except BaseException:
            pass
        os._exit(70)
    os._exit(0)


class _Kernel:
    def __init__(self, channel, task, settings):
        self.channel = channel
        # Inputs belong to cells, not to the session.
        self.task = {name: value for name, value in task.items() if name not in ("inputText", "stdin")}
        self.settings = settings
        self.work = settings["work"]
        self.pid = os.getpid()
        self.number = 0
        self.is_running = False
        self.names = None
        self.module = None
        self.display = None
        self.loop = None
        self.read = os.read
        self.buffer = bytearray()
        self.known = mayfly_artifacts.Known(self.work)

    def begin(self, pristine, path):
        for fd in NOT_OURS:
            try:
                os.close(fd)
            except OSError:
                pass
        os.setpgid(0, 0)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        _signal.set_wakeup_fd(-1)
        os.register_at_fork(after_in_child=self.close_channel)
        mayfly_own.give_way(pristine, path[0])
        self.module = types.ModuleType("__main__")
        self.names = self.module.__dict__
        self.names.update(__builtins__=builtins, __annotations__={})
        sys.modules["__main__"] = self.module
        sys.argv = ["", *self.task.get("args", [])]
        sys.stdout.reconfigure(line_buffering=True)
        self.display = mayfly_display.Display(None, self.work, self.show)
        mayfly_display.watch_figures(self.display, lambda: os.getpid() == self.pid)
        mayfly_own.own("mayfly_imports").take_variables(self.task.get("env", {}))
        sys.path[:] = path
        # Parses inputs. Loaded now, because a cell may install import hooks that intercept later imports.
        mayfly_own.own("json")
        mayfly_ground.open_packages(self.settings)

    def next_cell(self):
        if not self.fill_buffer(5):
            return None
        length, kind = _struct.unpack_from("<IB", self.buffer)
        if not self.fill_buffer(length + 4):
            return None
        payload = bytes(memoryview(self.buffer)[5 : length + 4])
        del self.buffer[: length + 4]
        if kind == mayfly_wire.FORKED:
            return FORKED
        return None if kind != mayfly_wire.EXEC else mayfly_json.loads(payload)

    def renew(self):
        """Its machine was forked: draws the random values of loaded modules anew, and answers."""
        mayfly_template.renew()
        self.say(mayfly_wire.FORKED)

    def fill_buffer(self, size):
        """Reads until `size` bytes are buffered; False at end of stream. An interrupt within a frame loses no data."""
        while len(self.buffer) < size:
            try:
                chunk = self.read(self.channel, max(READ_BYTES, size - len(self.buffer)))
            except KeyboardInterrupt:
                continue
            if not chunk:
                return False
            self.buffer += chunk
        return True

    def run(self, asked):
        cell = Cell(self, asked)
        self.is_running = True
        try:
            meta, text = cell.run()
        except BaseException as error:
            # An interrupt during the encoding of the result, or objects of the job that made it fail.
            meta, text = {"status": "error", "error": cell.error_of(error)}, ""
        self.is_running = False
        cell.end(meta, text)
        self.prepare_next()

    def prepare_next(self):
        """Prepares the result file for the next cell while the kernel is idle; the cell checks it, and reports failures."""
        try:
            mayfly_ground.renew_result(self.settings)
        except BaseException:
            pass

    def interrupted(self, _signal_number, _frame):
        if self.is_running:
            raise KeyboardInterrupt

    def close_channel(self):
        """Closes the socket in a child that a cell forked, or the child could read the next exec."""
        try:
            os.close(self.channel)
        except OSError:
            pass

    def awaited(self, coroutine):
        """Runs a coroutine on the one event loop of all cells: tasks left by earlier cells continue with it."""
        asyncio = mayfly_own.own("asyncio")
        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(coroutine)

    def show(self, head, text):
        self.say(mayfly_wire.DISPLAY, (mayfly_json.dumps(head) + "\n" + text).encode("utf8", "replace"))

    def say(self, kind, payload=b""):
        # Children of the job return here too, and must not report.
        if os.getpid() == self.pid:
            mayfly_wire.send(kind, payload, self.channel)


class Cell(mayfly_entries.Job):
    """One exec: a job that runs in the namespace of the session."""

    is_cell = True

    def __init__(self, kernel, asked):
        kernel.number += 1
        super().__init__({**kernel.task, **asked}, kernel.settings, say=kernel.say)
        self.kernel = kernel
        # Variables of this exec only; those of the session are set already.
        self.variables = asked.get("env") or {}
        self.file = os.path.join(kernel.work, f"cell-{kernel.number}.py")
        self.display = kernel.display

    def run(self):
        self.prepare()
        code = self.task["code"]
        linecache.cache[self.file] = (len(code), None, code.splitlines(True), self.file)
        try:
            compiled = mayfly_source.expression(code, self.file, TOP_LEVEL_AWAIT)
            if compiled is None:
                compiled = mayfly_source.Shape(code, self.file, True, TOP_LEVEL_AWAIT).code
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            error = error.with_traceback(None)
            mayfly_errors.print_error(error, self.work)
            self.flush()
            return {"status": "error", "error": {**self.error_of(error), "code": "SYNTAX_ERROR"}}, ""
        before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)
        self.released = mayfly_entries.now()
        error, value = self.executed(compiled)
        _restore(before)
        self.flush()
        meta, text = self.outcome_of(error, value)
        self.flush()
        return meta, text

    def prepare(self):
        self.watch(self.kernel.known.current())
        self.gathering.is_change_only = True
        # True forbids the gathering to close descriptors at EMFILE: they may be the kernel's.
        self.gathering.has_freed = True
        display = self.display
        display.gathering, display.items, display.chars = self.gathering, 0, 0
        display.told, display.open_figures = set(), display.open_figures[:0]
        self.cpu_before = mayfly_entries.cpu_seconds()
        self.memory_before = mayfly_entries.MemoryMark()
        mayfly_ground.renew_input(self.task, self.settings)
        if not mayfly_ground.has_new_result(self.settings):
            mayfly_ground.renew_result(self.settings)
        if "inputText" in self.task:
            self.kernel.names["input"] = mayfly_entries.parsed(self.task["inputText"])
        try:
            _signal.signal(_signal.SIGINT, self.kernel.interrupted)
        except ValueError:
            pass

    def executed(self, code):
        names, error, value = self.kernel.names, None, None
        try:
            value = eval(code, names)
            if code.co_flags & inspect.CO_COROUTINE:
                value = self.kernel.awaited(value)
        except BaseException as thrown:
            error = mayfly_errors.own_frames_off(thrown)
            if os.getpid() == self.pid or not isinstance(error, SystemExit):
                mayfly_entries.tell(error, self.work)
        if value is None:
            value = names.pop(mayfly_source.LAST, None)
        if os.getpid() != self.pid:
            # A child that the cell forked exits here, as at the end of a program.
            self.flush()
            os._exit(mayfly_entries.status_of(error))
        if error is None and value is not None:
            names["_"] = value
        return error, value

    def end(self, meta, text=""):
        try:
            left_out = self.left_out()
        except BaseException:
            left_out = []
        head = {
            "protocol": 1,
            "id": self.task["id"],
            "encoding": "json",
            **{name: value for name, value in meta.items() if name != "exitCode" or value},
            "state": "kept",
            "cpuTimeMs": max(0, (mayfly_entries.cpu_seconds() - self.cpu_before) * 1000),
            "executionMs": (mayfly_entries.now() - self.released) * 1000 if self.released else 0,
            **(self.memory_before.since() if self.memory_before else {}),
            "artifactsLeftOut": left_out,
        }
        self.say(mayfly_wire.EXEC_END, (mayfly_json.dumps(head) + "\n" + text).encode("utf8", "replace"))

    def gather(self):
        if not self.kernel.known.is_unchanged():
            super().gather()

    def flush(self):
        mayfly_entries.flush()


def _restore(variables):
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def pair():
    """Socket pair of manager and kernel, neither of which programs inherit."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return ours.detach(), theirs.detach()
