"""One job, from its release to its end."""

import _ast
import atexit
import errno
import json
import os
import resource
import sys
import time
import types

import mayfly_artifacts
import mayfly_ground
import mayfly_result
import mayfly_wire

HERE = os.path.dirname(os.path.abspath(__file__))
CHARS_MAX = 8192
STACK_CHARS_MAX = 16384

_exit = os._exit
_dumps = json.dumps
_monotonic = time.monotonic
_usage = resource.getrusage
_send = mayfly_wire.send
_own_path = [path for path in sys.path if path != HERE]

_DUMMY = {
    "language": "python",
    "entry": "auto",
    "code": "import json\ndef main(input):\n    open('out/a', 'w').close()\n    return [input, {'a': 1.5}]",
    "inputText": '{"a": [1, "b", null]}',
    "files": [],
    "timeoutMs": 1000,
    "resultBytesMax": 1024,
    "artifactBytesMax": 1024,
    "network": False,
}


def warm_up(settings):
    """A job that nobody hears, so that nothing on a real job's path runs for the first time."""
    if not settings["work"]:
        return
    _preload()
    own_main, own_path = sys.modules["__main__"], list(sys.path)
    folder = os.path.join(settings["tmp"], ".mayfly-warm")
    os.mkdir(folder)
    own = {**settings, "work": folder, "tmp": folder, "listens": False}
    task = json.loads(json.dumps(_DUMMY))
    sink = os.open(os.devnull, os.O_WRONLY)
    job = _Job(task, own, lambda kind, payload=b"": _send(kind, payload, sink))
    job.rehearse(*mayfly_ground.lay_out(task, own))
    os.close(sink)
    try:
        raise ValueError("warm")
    except ValueError as error:
        _error_of(error, settings)
    mayfly_ground.read_result(own, 0)
    mayfly_ground.take_up(settings, own_path)
    sys.modules["__main__"] = own_main
    del sys.modules["job"]
    for name in ("out/a", "job.py", ".mayfly-result"):
        os.unlink(os.path.join(folder, name))
    os.rmdir(os.path.join(folder, "out"))
    os.rmdir(folder)


def _preload():
    """What many programs need: a wall that waits has the time."""
    import dataclasses
    import datetime
    import socket
    import threading

    return dataclasses, datetime, socket, threading, _traceback()


def _traceback():
    """Loaded when something went wrong: not what the job may have by that name."""
    path = list(sys.path)
    sys.path[:] = _own_path
    try:
        import traceback
    finally:
        sys.path[:] = path
    return traceback


def run(task, settings, problem=None):
    job = _Job(task, settings)
    try:
        if problem is not None:
            raise problem
        main, path = mayfly_ground.lay_out(task, settings)
    except BaseException as error:
        job.refuse(error)
        _exit(1)
    job.run(main, path)


class _Job:
    def __init__(self, task, settings, say=_send):
        self.task = task
        self.settings = settings
        self.say = say
        self.released = None
        self.cpu_before = 0.0
        self.pid = os.getpid()

    def refuse(self, error):
        """Nothing of the job ran."""
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG):
            message = "The files of the job take more space than it may use"
            return self.end({"status": "limit", "error": {"code": "DISK", "message": message}})
        self.fail(error)

    def run(self, main, path):
        sys.argv = [main, *self.task.get("args", [])]
        try:
            tree = _parse(self.task["code"], main)
            code = compile(self.task["code"], main, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            if _entry_asked(self.task) == "program":
                _traceback().print_exception(error, limit=0)
            own = _error_of(error.with_traceback(None), self.settings)
            self.end({"status": "error", "error": {**own, "code": "SYNTAX_ERROR"}})
            _exit(1)
        entry = _entry(self.task, tree)
        if "calls" in self.task and entry == "program":
            self.fail(TypeError("Cannot call the job: it is a program"))
            _exit(1)
        self.release(path)
        status = self.program(code, main) if entry == "program" else self.value(code, main, entry)
        _exit(status)

    def release(self, path):
        """From here on, and no earlier, what is imported may be the job's."""
        self.cpu_before = _cpu_seconds()
        self.released = _monotonic()
        self.say(mayfly_wire.RELEASED, b"%.6f" % (self.released * 1000))
        sys.path[:] = path

    def rehearse(self, main, path):
        """All of it but its end."""
        tree = _parse(self.task["code"], main)
        code = compile(self.task["code"], main, "exec", dont_inherit=True)
        self.release(path)
        self.value(code, main, _entry(self.task, tree))

    def program(self, code, main):
        module = _module("__main__", main)
        error = None
        try:
            exec(code, module.__dict__)
        except BaseException as thrown:
            error = thrown
        error = self.wind_up() or error
        if os.getpid() != self.pid:
            return _status_of(error)
        return self.end_program(error)

    def wind_up(self):
        """As an interpreter ends: its threads, its exit handlers, its output."""
        error = None
        threading = sys.modules.get("threading")
        shutdown = getattr(threading, "_shutdown", lambda: None)
        for step in (shutdown, atexit._run_exitfuncs):
            try:
                step()
            except BaseException as thrown:
                error = thrown
        return error

    def end_program(self, error):
        status = _status_of(error)
        if error is not None and not isinstance(error, SystemExit):
            _traceback().print_exception(type(error), error, _user_frames(error))
        elif error is not None and not isinstance(error.code, (int, type(None))):
            print(error.code, file=sys.stderr)
        _flush()
        if error is not None and not isinstance(error, SystemExit):
            self.end({"status": "error", "exitCode": status, "error": _error_of(error, self.settings)})
        elif status != 0:
            message = f"The program exited with {status}"
            self.end({"status": "error", "exitCode": status, "error": {"code": "EXIT", "message": message}})
        else:
            self.end_with_result()
        return status

    def end_with_result(self):
        text = mayfly_ground.read_result(self.settings, self.task["resultBytesMax"])
        if text is None:
            message = "Cannot return the result: it takes more bytes than this job may return"
            return self.end(_refusal("RESULT_TOO_LARGE", message))
        if text != "" and not _is_json(text):
            message = "Cannot return the result: what the program wrote as its result is no JSON"
            return self.end(_refusal("RESULT_NOT_JSON", message))
        self.end({"status": "ok", "exitCode": 0}, text or "null")

    def value(self, code, main, entry):
        sys.modules["__main__"] = types.ModuleType("__main__")
        module = _module("job", main)
        try:
            given = json.loads(self.task["inputText"])
            if entry == "result":
                module.input = given
            if "calls" in self.task and entry == "result":
                raise TypeError("Cannot call the job: it defines no function main")
            exec(code, module.__dict__)
            if "calls" in self.task:
                value = self.batch(module, entry, given)
            else:
                value = self.answer(module, entry, given)
            encoding, text = mayfly_result.encode(value, self.task["resultBytesMax"])
        except mayfly_result.Refused as refused:
            return self.over({"status": "error", "error": {"code": refused.code, "message": str(refused)}}, 1)
        except SystemExit as error:
            status = _status_of(error)
            message = f"The program exited with {status}"
            exited = {"status": "error", "error": {"code": "EXIT", "message": message}}
            return self.over({**(exited if status else {"status": "ok"}), "exitCode": status}, status)
        except BaseException as error:
            return self.over({"status": "error", "error": _error_of(error, self.settings)}, 1)
        return self.over({"status": "ok", "encoding": encoding}, 0, text)

    def answer(self, module, entry, given):
        if entry == "result":
            return module.__dict__.get("result")
        name = "handler" if entry == "handler" else "main"
        function = module.__dict__.get(name)
        if not callable(function):
            if name == "main" and "result" in module.__dict__:
                return module.result
            raise TypeError(f"Cannot run the job: it defines no function {name}")
        value = function(given, _Context(self)) if entry == "handler" else function(given)
        if not isinstance(value, types.CoroutineType):
            return value
        import asyncio

        return asyncio.run(value)

    def batch(self, module, entry, inputs):
        """One call after the other. What one raises is its own, and the next one begins."""
        room = self.task["resultBytesMax"]
        for given in inputs:
            began = _monotonic()
            try:
                encoding, text = mayfly_result.encode(self.answer(module, entry, given), room)
                room -= len(text)
                self.answered(began, {"status": "ok", "encoding": encoding}, text)
            except mayfly_result.Refused as refused:
                self.answered(began, {"status": "error", "error": {"code": refused.code, "message": str(refused)}})
            except SystemExit:
                raise
            except BaseException as error:
                self.answered(began, {"status": "error", "error": _error_of(error, self.settings)})

    def answered(self, began, meta, text="null"):
        if os.getpid() != self.pid:
            return
        head = {"protocol": 1, "encoding": "json", **meta, "executionMs": (_monotonic() - began) * 1000}
        self.say(mayfly_wire.ANSWERED, (_dumps(head) + "\n" + text).encode("utf8", "replace"))

    def over(self, meta, status, text=None):
        if os.getpid() == self.pid:
            _flush()
            self.end(meta, text if text is not None else ("null" if meta["status"] == "ok" else ""))
        return status

    def fail(self, error):
        self.end({"status": "error", "error": _error_of(error, self.settings)})

    def end(self, meta, text=""):
        work = self.settings["work"]
        bytes_max = self.task["artifactBytesMax"]
        left_out = mayfly_artifacts.gather(work + "/out", bytes_max, self.give) if work else []
        head = {
            "protocol": 1,
            "encoding": "json",
            **meta,
            "cpuTimeMs": max(0, (_cpu_seconds() - self.cpu_before) * 1000) if self.released else 0,
            "executionMs": (_monotonic() - self.released) * 1000 if self.released else 0,
            "artifactsLeftOut": left_out,
        }
        self.say(mayfly_wire.END, (_dumps(head) + "\n" + text).encode("utf8", "replace"))
        if self.task.get("stays"):
            mayfly_wire.stay()

    def give(self, path, data):
        head = _dumps({"path": path, "size": len(data)}) + "\n"
        self.say(mayfly_wire.ARTIFACT, head.encode() + data)


class _Context:
    """What cloud functions are given beside their event."""

    def __init__(self, job):
        self._job = job

    def get_remaining_time_in_millis(self):
        elapsed = (_monotonic() - self._job.released) * 1000
        return max(0, int(self._job.task["timeoutMs"] - elapsed))


def _entry_asked(task):
    return task["entry"]


def _entry(task, tree):
    """`function`, `result`, `handler` or `program`; what is `auto` is told by what the top level binds."""
    asked = task["entry"]
    if asked in ("program", "handler"):
        return asked
    bound = _bound(tree.body)
    if "main" in bound:
        return "function"
    if "result" in bound:
        return "result"
    return "program" if asked == "auto" else "function"


def _parse(code, main):
    """What `ast.parse` does, without what that module needs to be loaded."""
    return compile(code, main, "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)


def _walk(node):
    """It and all below it, in any order."""
    left = [node]
    while left:
        node = left.pop()
        yield node
        for name in node._fields:
            value = getattr(node, name, None)
            below = value if isinstance(value, list) else [value]
            left.extend(one for one in below if isinstance(one, _ast.AST))


def _bound(statements):
    names = set()
    for statement in statements:
        if isinstance(statement, (_ast.FunctionDef, _ast.AsyncFunctionDef, _ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, (_ast.Import, _ast.ImportFrom)):
            names.update((alias.asname or alias.name).split(".")[0] for alias in statement.names)
        elif isinstance(statement, (_ast.If, _ast.For, _ast.While, _ast.With, _ast.Try)):
            if not _asks_for_main(statement):
                for block in ("body", "orelse", "finalbody"):
                    names |= _bound(getattr(statement, block, []))
        else:
            names.update(
                node.id
                for node in _walk(statement)
                if isinstance(node, _ast.Name) and isinstance(node.ctx, _ast.Store)
            )
    return names


def _asks_for_main(statement):
    """`if __name__ == "__main__":` is a program's part."""
    if not isinstance(statement, _ast.If):
        return False
    return any(isinstance(node, _ast.Name) and node.id == "__name__" for node in _walk(statement.test))


def _module(name, main):
    module = types.ModuleType(name)
    module.__file__ = main
    module.__builtins__ = __builtins__
    sys.modules[name] = module
    return module


def _status_of(error):
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        return 1
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def _refusal(code, message):
    return {"status": "error", "exitCode": 0, "error": {"code": code, "message": message}}


def _user_frames(error):
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(HERE):
        trace = trace.tb_next
    return trace


def _error_of(error, settings):
    """Bounded texts of whatever was thrown; its places are those of the job's own files."""
    try:
        message = str(error)
    except BaseException:
        message = "The message of the error cannot be read"
    try:
        stack = "".join(_traceback().format_exception(type(error), error, _user_frames(error)))
    except BaseException:
        stack = ""
    work = settings["work"] or "/"
    return {
        "code": "USER_ERROR",
        "name": type(error).__name__[:256],
        "message": message[:CHARS_MAX].replace(f"{work}/", "") if isinstance(error, SyntaxError) else message[:CHARS_MAX],
        "stack": stack.replace(f"{work}/", "")[-STACK_CHARS_MAX:],
    }


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass


def _cpu_seconds():
    own, children = _usage(resource.RUSAGE_SELF), _usage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _is_json(text):
    try:
        json.loads(text)
        return True
    except (ValueError, RecursionError):
        return False
