"""Error reports as Python prints them, without frames of the runner."""

import io
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CHARS_MAX = 8192
STACK_CHARS_MAX = 16384

_buffer = io.StringIO
_print = sys.__excepthook__


def print_error(error, work):
    """Prints to stderr, by the job's own excepthook if set. The outcome has the same text."""
    hook = sys.excepthook
    if hook is not _print:
        try:
            return hook(type(error), error, error.__traceback__)
        except BaseException:
            pass
    try:
        sys.stderr.write(_text_of(error, work))
    except BaseException:
        pass


def error_of(error, work):
    """Bounded texts of a thrown value, and its position in the job."""
    try:
        message = str(error)
    except BaseException:
        message = "The message of the error cannot be read"
    is_syntax = isinstance(error, SyntaxError)
    told = {
        "code": "USER_ERROR",
        "name": str(type(error).__name__)[:256],
        "message": (_relative(message, work) if is_syntax else message)[:CHARS_MAX],
        "stack": _text_of(error, work)[-STACK_CHARS_MAX:],
    }
    place = _place_of(error, work or "/")
    return {**told, "details": place} if place else told


def own_frames_off(error):
    """Removes the runner's frames at the start of a traceback, and that of an interrupt at its end."""
    trace = error.__traceback__
    while trace is not None and _is_own(trace):
        trace = trace.tb_next
    at = trace
    while at is not None and at.tb_next is not None:
        if _is_own(at.tb_next):
            at.tb_next = None
        at = at.tb_next
    return error.with_traceback(trace)


def _is_own(trace):
    return trace.tb_frame.f_code.co_filename.startswith(HERE)


def _text_of(error, work):
    """Formats by the interpreter, which adds suggestions for misspelled names."""
    buffer, stderr = _buffer(), sys.stderr
    sys.stderr = buffer
    try:
        _print(type(error), error, error.__traceback__)
    except BaseException:
        pass
    finally:
        sys.stderr = stderr
    return _relative(buffer.getvalue(), work)


def _relative(text, work):
    return text.replace(f"{work}/", "") if work else text


def _place_of(error, work):
    """Innermost frame in the job's own files."""
    if isinstance(error, SyntaxError) and isinstance(error.filename, str) and error.filename.startswith(work):
        at = {"file": error.filename[len(work) :].lstrip("/")[:1024], "line": error.lineno or 1}
        return {**at, "column": error.offset} if isinstance(error.offset, int) else at
    place, trace = None, error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(work):
            place = {"file": name[len(work) :].lstrip("/")[:1024], "line": trace.tb_lineno}
        trace = trace.tb_next
    return place
