"""A runner that waits in a machine which is saved as a template, and goes on in each of its clones.

Under emulation a machine is slow in all that it runs for the first time, and a clone has run nothing. So the runner runs its
dummy job again once it is in a clone. It knows that by the clock, which is years behind in a template."""

import time

import _socket

CONTROL_FD = 5
LOOK_S = 0.02
# No template has a clock as late as this: QEMU starts each in 2001.
CLONED_AFTER_S = 1_600_000_000


def wait(rehearse):
    """Returns once a frame can be read. Calls `rehearse` before, if there is the time."""
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, CONTROL_FD)
    control.settimeout(LOOK_S)
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
