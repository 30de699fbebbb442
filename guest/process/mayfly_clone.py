"""A runner in a virtual machine that is saved as a template and continues in each clone.

Under emulation, code is slow when a machine runs it for the first time, and a clone starts with no translated code. So the
runner repeats its dummy job in the clone, which it recognises by the clock: that of a template is years behind."""

import time

import _socket

CONTROL_FD = 5
POLL_S = 0.02
# Later than the clock of any template: QEMU starts them in 2001.
CLONED_AFTER_S = 1_600_000_000


def wait(rehearse):
    """Returns when the machine is a clone or a frame has arrived. Calls `rehearse` if no frame is waiting."""
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, CONTROL_FD)
    control.settimeout(POLL_S)
    try:
        while time.time() < CLONED_AFTER_S:
            if _has_frame(control):
                return
        if not _has_frame(control):
            rehearse()
    finally:
        control.settimeout(None)
        control.detach()


def _has_frame(control):
    try:
        control.recv(1, _socket.MSG_PEEK)
    except TimeoutError:
        return False
    return True
