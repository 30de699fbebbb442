"""Runs a job, from release to end."""

import _signal
import atexit
import errno
import gc
import io
import os
import resource
import sys
import time
import types

import mayfly_artifacts
import mayfly_errors
import mayfly_ground
import mayfly_json
import mayfly_own
import mayfly_result
import mayfly_source
import mayfly_wire

HERE = os.path.dirname(os.path.abspath(__file__))
# Time limit for the representations of a result, in seconds.
SHOW_SECONDS_MAX = 2
# Entries called with the input: the source is imported, not run.
CALLED = {"main": "main", "function": "main", "handler": "handler"}

_exit = os._exit
_getpid = os.getpid
_frames = sys._current_frames
_dumps = mayfly_json.dumps
now = time.monotonic
_usage = resource.getrusage
_SELF, _CHILDREN = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
_open, _read, _close = os.open, os.read, os.close
_PAGE_BYTES = resource.getpagesize()
_send = mayfly_wire.send

# Uses most of the grammar, to warm up the parser and compiler.
_DUMMY_CODE = """import json, os.path as paths
from time import monotonic as clock
class Pair:
    first: int = 1
    def both(self, *more, **named):
        return [one for one in more if one] + [{**named, "a": f"{self.first:02d}"}]
def main(input):
    try:
        with open("out/a", "w") as file:
            for index, name in enumerate(("b", "c")):
                file.write("" if index % 2 == 0 else name[:0])
    except (OSError, ValueError) as error:
        raise RuntimeError("no file") from error
    while not input or clock() < 0:
        break
    return [input, {"a": 1.5, "b": Pair().both(1, b=lambda: 2)[0]}]"""

_DUMMY = {
    "language": "python",
    "entry": "auto",
    "code": _DUMMY_CODE,
    "inputText": '{"a": [1, "b", null]}',
    "files": [],
    "timeoutMs": 1000,
    "resultBytesMax": 1024,
    "artifactBytesMax": 1024,
    "network": False,
}


def warm_up(settings):
    """Runs a dummy job, so that the first real job finds warm code.

    Its files are in a folder that stays writable: in a cloned machine it may still run when a phase closes writing, which
    kills processes that have a file open elsewhere."""
    if not settings["work"]:
        return
    _preload()
    own_main, own_path = sys.modules["__main__"], list(sys.path)
    folder = os.path.join(mayfly_ground.own_of(settings), ".mayfly-warm")
    os.mkdir(folder)
    own = {**settings, "work": folder, "tmp": folder, "own": folder, "listens": False}
    task = mayfly_json.loads(_dumps(_DUMMY))
    sink = os.open(os.devnull, os.O_WRONLY)
    job = Job(task, own, say=lambda kind, payload=b"": _send(kind, payload, sink))
    job.rehearse(*mayfly_ground.lay_out(task, own))
    os.close(sink)
    try:
        raise ValueError("warm")
    except ValueError as error:
        mayfly_errors.error_of(error, folder)
    mayfly_ground.read_result(own, 0)
    mayfly_ground.take_up(settings, own_path)
    sys.modules["__main__"] = own_main
    for name in ("out/a", "job.py", ".mayfly-result"):
        os.unlink(os.path.join(folder, name))
    os.rmdir(os.path.join(folder, "out"))
    os.rmdir(folder)
    mayfly_own.own("mayfly_imports").load(mayfly_ground.quiet(settings["tmp"]), settings["tmp"])
    # Excludes the runner's objects from the final garbage collection.
    gc.collect()
    gc.freeze()


def make_out(settings):
    if settings["work"]:
        mayfly_artifacts.make_out(settings["work"])


def _preload():
    """Preloads common modules: an idle spare has the time."""
    import dataclasses
    import datetime
    import socket
    import threading
    import traceback

    return dataclasses, datetime, socket, threading, traceback, mayfly_own.own("mayfly_display")


def run(task, settings, pristine=frozenset(), problem=None):
    job = Job(task, settings, pristine)
    try:
        if problem is not None:
            raise problem
        main, path = mayfly_ground.lay_out(task, settings)
    except BaseException as error:
        job.refuse(error)
        _exit(1)
    _exit(job.run(main, path))


class Job:
    is_cell = False

    def __init__(self, task, settings, pristine=frozenset(), say=_send):
        self.task = task
        self.settings = settings
        self.pristine = pristine
        self.say = say
        self.work = settings["work"] or "/"
        self.released = None
        self.cpu_before = 0.0
        self.memory_before = None
        self.pid = _getpid()
        self.gathering = None
        self.display = None
        self.is_called = False

    @property
    def is_ours(self):
        """False in a forked child, which returns here too and must not report."""
        return _getpid() == self.pid

    def refuse(self, error):
        """Reports the end of a job that could not start."""
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG):
            message = "The files of the job take more space than it may use"
            return self.end({"status": "limit", "error": {"code": "DISK", "message": message}})
        self.fail(error)

    def run(self, main, path):
        """Runs the job; returns its exit code. Everything is set up before user code, because nothing of the
        runner is imported by name afterwards."""
        sys.argv = [self.task.get("name") or main, *self.task.get("args", [])]
        sys.orig_argv[:] = [sys.executable, *sys.argv]
        sys.stdout.reconfigure(line_buffering=True)
        called = CALLED.get(self.task["entry"]) or ("main" if "calls" in self.task else None)
        is_program = self.task["entry"] == "program"
        if "calls" in self.task and is_program:
            self.fail(TypeError("Cannot call the job: it is a program"))
            return 1
        try:
            shape = mayfly_source.Shape(self.task["code"], main, called is None and not is_program)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            return self.unread(error)
        self.watch(mayfly_ground.brought(self.task, self.settings, main))
        self.release(path, mayfly_ground.names_beside(self.task, self.settings, main))
        if called:
            return self.value(shape, main, called)
        return self.program(shape, main, is_program)

    def unread(self, error):
        error = error.with_traceback(None)
        mayfly_errors.print_error(error, self.work)
        flush()
        self.end({"status": "error", "exitCode": 1, "error": {**self.error_of(error), "code": "SYNTAX_ERROR"}})
        return 1

    def watch(self, brought):
        self.gathering = mayfly_artifacts.Gathering(self.work, self.task["artifactBytesMax"], self.give, brought)

    def release(self, path, names=None):
        """Releases the job: only from here on can imports find its modules. `names`: those in `path[0]`, if known."""
        mayfly_own.give_way(self.pristine, path[0], names)
        display = mayfly_own.own("mayfly_display")
        self.display = display.Display(self.gathering, self.work, self.show)
        display.watch_figures(self.display, lambda: self.is_ours)
        mayfly_own.own("mayfly_imports").take_variables(self.task.get("env", {}))
        self.cpu_before = cpu_seconds()
        self.memory_before = MemoryMark()
        self.released = now()
        self.say(mayfly_wire.RELEASED, b"%.6f" % (self.released * 1000))
        sys.path[:] = path
        mayfly_ground.open_packages(self.settings)

    def rehearse(self, main, path):
        """Rehearses a whole job but its end."""
        shape = mayfly_source.Shape(self.task["code"], main, True)
        modules, finders, before = dict(sys.modules), list(sys.meta_path), dict(sys.path_importer_cache)
        self.watch(mayfly_ground.brought(self.task, self.settings, main))
        self.release(path)
        module = _main_module(main)
        exec(shape.code, module.__dict__)
        mayfly_result.encode(self.value_of(module.__dict__, shape, None), self.task["resultBytesMax"])
        self.gathering.gather()
        sys.modules.clear()
        sys.modules.update(modules)
        sys.meta_path[:] = finders
        sys.path_importer_cache.clear()
        sys.path_importer_cache.update(before)

    def program(self, shape, main, is_plain):
        """Runs the source as `python3 FILE`; its result is the last expression, unless it writes one."""
        module = _main_module(main)
        names, error, value = module.__dict__, None, None
        given = None
        if not is_plain and shape.takes_input:
            names["input"] = given = parsed(self.task["inputText"])
        try:
            exec(shape.code, names)
            if not is_plain:
                value = self.value_of(names, shape, given)
        except BaseException as thrown:
            error = mayfly_errors.own_frames_off(thrown)
            if self.is_ours or not isinstance(error, SystemExit):
                tell(error, self.work)
        self.wind_up()
        if not self.is_ours:
            atexit._run_exitfuncs()
            flush()
            return status_of(error)
        meta, text = self.outcome_of(error, value)
        atexit._run_exitfuncs()
        del value
        self.close(names)
        self.end(meta, text)
        return status_of(error)

    def value_of(self, names, shape, given):
        last = names.pop(mayfly_source.LAST, None)
        main = names.get("main")
        if not shape.runs_itself and mayfly_source.calls_with_one(main):
            self.is_called = True
            return _awaited(main(parsed(self.task["inputText"]) if given is None else given))
        result = names.get("result")
        is_data = not isinstance(result, (type, types.FunctionType, types.ModuleType))
        return result if result is not None and is_data else last

    def outcome_of(self, error, value):
        if isinstance(error, SystemExit):
            status = status_of(error)
            if status != 0:
                message = f"The program exited with {status}"
                return {"status": "error", "exitCode": status, "error": {"code": "EXIT", "message": message}}, ""
        elif error is not None:
            return {"status": "error", "exitCode": 1, "error": self.error_of(error)}, ""
        room = self.task["resultBytesMax"]
        written = mayfly_ground.read_result(self.settings, room)
        if written is None:
            message = "Cannot return the result: it takes more bytes than this job may return"
            return _refusal("RESULT_TOO_LARGE", message), ""
        if written != "" and not _is_json(written):
            message = "Cannot return the result: what the program wrote as its result is no JSON"
            return _refusal("RESULT_NOT_JSON", message), ""
        if written != "":
            return {"status": "ok", "exitCode": 0}, written
        try:
            form, text = self.shown(value, room)
        except mayfly_result.Refused as refused:
            return _refusal(refused.code, str(refused)), ""
        exited = {} if self.is_called else {"exitCode": 0}
        return {"status": "ok", **exited, **form}, text

    def shown(self, value, room):
        """Reports the result as JSON if it is data, else as text, and its other representations. Errors in them
        do not fail the job; data that is too large does, except in a session."""
        if not self.display.open_figures:
            text = mayfly_result.plain(value, room)
            if text is not None:
                return {"encoding": "json"}, text
        refused = None
        with _Within(SHOW_SECONDS_MAX) as within:
            self.displayed(value)
            if value is None:
                return {"encoding": "json"}, "null"
            try:
                encoding, text = mayfly_result.encode(value, room)
                return {"encoding": encoding}, text
            except mayfly_result.Refused as error:
                is_large = error.code == "RESULT_TOO_LARGE"
                refused = error if is_large and not self.is_cell else None
            if refused is None:
                text, is_cut = mayfly_result.encode_text(value, room)
                return {"encoding": "text", **({"partial": True} if is_large or is_cut else {})}, text
        if refused is not None:
            raise refused
        because = f"it took more than {SHOW_SECONDS_MAX} s" if within.is_over else "its class broke"
        return {"encoding": "text", "partial": True}, _dumps(f"<{type(value).__name__}: not shown, {because}>"[:256])

    def displayed(self, value):
        """Shows figures and representations; one that breaks loses nothing but itself."""
        for show, *what in ((self.display.figures_left,), (self.display.value, value)):
            try:
                show(*what)
            except Exception:
                pass

    def wind_up(self):
        """Joins threads, as an interpreter does at exit."""
        shutdown = getattr(sys.modules.get("threading"), "_shutdown", None)
        try:
            if shutdown:
                shutdown()
        except BaseException:
            pass

    def close(self, names):
        """Closes the program's open files, as an interpreter does at exit; their output still counts."""
        flush()
        # Not done while a daemon thread runs, which an interpreter would have stopped, or if memory is captured at the end,
        # so that the capture contains the program's variables.
        if len(_frames()) > 1 or self.task.get("stays"):
            return _flush_files()
        for is_private in (True, False):
            for name in list(names):
                if name.startswith("_") == is_private and not name.startswith("__"):
                    names[name] = None
        gc.collect()
        flush()

    def value(self, shape, main, called):
        """Imports the source, and calls its function."""
        sys.modules["__main__"] = types.ModuleType("__main__")
        module = _module(os.path.splitext(os.path.basename(main))[0], main)
        room = self.task["resultBytesMax"]
        try:
            given = parsed(self.task["inputText"])
            exec(shape.code, module.__dict__)
            if "calls" in self.task:
                self.batch(module, called, given)
                return self.over({"status": "ok"}, 0)
            value = self.answer(module, called, given)
            if called == "handler":
                encoding, text = mayfly_result.encode(value, room)
                form = {"encoding": encoding}
            else:
                form, text = self.shown(value, room)
        except mayfly_result.Refused as refused:
            return self.over({"status": "error", "error": {"code": refused.code, "message": str(refused)}}, 1)
        except SystemExit as error:
            tell(error, self.work)
            status = status_of(error)
            message = f"The program exited with {status}"
            exited = {"status": "error", "error": {"code": "EXIT", "message": message}}
            return self.over({**(exited if status else {"status": "ok"}), "exitCode": status}, status)
        except BaseException as error:
            tell(mayfly_errors.own_frames_off(error), self.work)
            return self.over({"status": "error", "error": self.error_of(error)}, 1)
        return self.over({"status": "ok", **form}, 0, text)

    def answer(self, module, name, given):
        function = module.__dict__.get(name)
        if name == "handler" and function is None:
            function = module.__dict__.get("lambda_handler")
        if not callable(function):
            raise TypeError(f"Cannot {'call' if 'calls' in self.task else 'run'} the job: it defines no function {name}")
        if name == "handler":
            return _awaited(function(given, _Context(self)))
        return _awaited(function() if mayfly_source.takes_none(function) else function(given))

    def batch(self, module, name, inputs):
        """Runs a batch serially. An exception belongs to its call only."""
        room = self.task["resultBytesMax"]
        for given in inputs:
            began = now()
            try:
                encoding, text = mayfly_result.encode(self.answer(module, name, given), room)
                room -= len(text)
                self.answered(began, {"status": "ok", "encoding": encoding}, text)
            except mayfly_result.Refused as refused:
                self.answered(began, {"status": "error", "error": {"code": refused.code, "message": str(refused)}})
            except SystemExit:
                raise
            except BaseException as error:
                self.answered(began, {"status": "error", "error": self.error_of(mayfly_errors.own_frames_off(error))})

    def answered(self, began, meta, text="null"):
        if not self.is_ours:
            return
        head = {"protocol": 1, "encoding": "json", **meta, "executionMs": (now() - began) * 1000}
        self.say(mayfly_wire.ANSWERED, (_dumps(head) + "\n" + text).encode("utf8", "replace"))

    def over(self, meta, status, text=None):
        if self.is_ours:
            flush()
            self.end(meta, text if text is not None else ("null" if meta["status"] == "ok" else ""))
        return status

    def error_of(self, error):
        return mayfly_errors.error_of(error, self.work)

    def fail(self, error):
        self.end({"status": "error", "error": self.error_of(error)})

    def end(self, meta, text=""):
        left_out = self.left_out() if self.released else []
        head = {
            "protocol": 1,
            "encoding": "json",
            **meta,
            "cpuTimeMs": max(0, (cpu_seconds() - self.cpu_before) * 1000) if self.released else 0,
            "executionMs": (now() - self.released) * 1000 if self.released else 0,
            **(self.memory_before.since() if self.memory_before else {}),
            "artifactsLeftOut": left_out,
        }
        self.say(mayfly_wire.END, (_dumps(head) + "\n" + text).encode("utf8", "replace"))
        if self.task.get("stays"):
            mayfly_wire.stay()

    def left_out(self):
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000))
        self.gather()
        self.display.images()
        return self.gathering.named()

    def gather(self):
        self.gathering.gather()

    def give(self, path, data):
        head = _dumps({"path": path, "size": len(data)}) + "\n"
        self.say(mayfly_wire.ARTIFACT, head.encode() + data)

    def show(self, head, text):
        self.say(mayfly_wire.DISPLAY, (_dumps(head) + "\n" + text).encode("utf8", "replace"))


class _Context:
    """Context object of cloud function handlers."""

    def __init__(self, job):
        self._job = job

    def get_remaining_time_in_millis(self):
        elapsed = (now() - self._job.released) * 1000
        return max(0, int(self._job.task["timeoutMs"] - elapsed))


class _TooLong(BaseException):
    pass


class _Within:
    """Context with a time limit; exceptions in it are not reported as errors of the job."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.is_over = False

    def __enter__(self):
        try:
            self.before = _signal.signal(_signal.SIGALRM, self.stop)
            self.left = _signal.setitimer(_signal.ITIMER_REAL, self.seconds, 0.1)
        except ValueError:
            self.before = None
        return self

    def stop(self, _signal_number, frame):
        self.is_over = True
        # Raised while the context is entered or left, it would escape, with its alarm still set.
        if frame.f_code not in self.unstopped:
            raise _TooLong

    def __exit__(self, kind, error, _trace):
        if self.before is not None:
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            _signal.signal(_signal.SIGALRM, self.before)
            _signal.setitimer(_signal.ITIMER_REAL, *self.left)
        return kind is not None

    unstopped = (__enter__.__code__, stop.__code__, __exit__.__code__)


def tell(error, work):
    if not isinstance(error, SystemExit):
        mayfly_errors.print_error(error, work)
    elif not isinstance(error.code, (int, type(None))):
        print(error.code, file=sys.stderr)


def _awaited(value):
    if not isinstance(value, types.CoroutineType):
        return value
    return mayfly_own.own("asyncio").run(value)


def _main_module(main):
    """Sets up `__main__` as an interpreter does for a script."""
    module = _module("__main__", main)
    loader = type(mayfly_own.__loader__)
    module.__dict__.update(__annotations__={}, __cached__=None, __loader__=loader("__main__", main))
    return module


def _module(name, main):
    module = types.ModuleType(name)
    module.__file__ = main
    module.__builtins__ = sys.modules["builtins"]
    sys.modules[name] = module
    return module


def status_of(error):
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        return 1
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def _refusal(code, message):
    return {"status": "error", "exitCode": 0, "error": {"code": code, "message": message}}


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass


def _flush_files():
    for one in gc.get_objects():
        if isinstance(one, (io.TextIOWrapper, io.BufferedWriter)):
            try:
                one.flush()
            except BaseException:
                pass


def cpu_seconds():
    own, children = _usage(_SELF), _usage(_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class MemoryMark:
    """Resident memory at the release, and what it grew by since; samples from outside miss that of a short job."""

    __slots__ = ("peak", "resident", "child_peak")

    def __init__(self):
        self.peak, self.child_peak = _peaks()
        self.resident = _resident() or self.peak

    def since(self):
        peak, child_peak = _peaks()
        # The peak is of the whole life: one that did not rise since says nothing of this job.
        top = peak if peak > self.peak else (_resident() or peak)
        child = child_peak if child_peak > self.child_peak else 0
        return {"peakBytes": max(0, top - self.resident), "childPeakBytes": child}


def _peaks():
    return _usage(_SELF).ru_maxrss * 1024, _usage(_CHILDREN).ru_maxrss * 1024


def _resident():
    """Bytes; None without /proc."""
    try:
        fd = _open("/proc/self/statm", os.O_RDONLY)
        try:
            return int(_read(fd, 256).split()[1]) * _PAGE_BYTES
        finally:
            _close(fd)
    except Exception:
        return None


def parsed(text):
    return _json().loads(text)


def _json():
    """The json package, for text written by people and programs."""
    return mayfly_own.own("json")


def _is_json(text):
    try:
        _json().loads(text)
        return True
    except (ValueError, RecursionError):
        return False
