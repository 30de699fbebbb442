"""Runner's end of the control socket; the server's half of the table is src/walls/wire.ts."""

import _struct
import os

CONTROL_FD = 5
READY_FD = 4
FRAME_BYTES_MAX = 96 * 2**20

RUN, AHEAD, RELEASED, END, ARTIFACT, ANSWERED, DISPLAY = 1, 4, 10, 14, 17, 18, 19
# Frames of a session.
EXEC, INTERRUPT, FILE, EXEC_END, FILED = 5, 6, 7, 20, 21
TERMINAL, TERMINAL_INPUT, TERMINAL_OUTPUT, TERMINAL_NOTE = 8, 9, 22, 23
FORKED = 25

_read, _write, _pack = os.read, os.write, _struct.pack


def say_ready():
    os.set_inheritable(CONTROL_FD, False)
    _write(READY_FD, b"R")
    os.close(READY_FD)


def say_unready(error):
    _write(READY_FD, f"E{type(error).__name__}: {error}".encode())


def next_frame():
    """Waits for the next frame; (None, b"") on end of stream."""
    header = _read_fully(5)
    if header is None:
        return None, b""
    length, kind = _struct.unpack("<IB", header)
    if length < 1 or length > FRAME_BYTES_MAX:
        return None, b""
    payload = _read_fully(length - 1)
    return (None, b"") if payload is None else (kind, payload)


def stay():
    """Blocks until killed, or until the server closes the socket; everything has been reported."""
    next_frame()


def _read_fully(size):
    chunks = []
    while size > 0:
        chunk = _read(CONTROL_FD, size)
        if not chunk:
            return None
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def send(kind, payload=b"", fd=CONTROL_FD):
    rest = memoryview(_pack("<IB", len(payload) + 1, kind) + payload)
    while rest:
        rest = rest[_write(fd, rest) :]
