"""Modules that an image has imported ahead, for a runner that waits for its job.

The image names them, a line each. They belong to the image and not to a job, so that what they hold in memory is in no job's
account and tells no job of another. One that cannot be imported is left to the job, which is told why.

A module keeps what it read of its surroundings when it was imported: the variables of a job come too late for it, but for
the back end of Matplotlib."""

import os
import sys

PLACE = "/usr/share/mayfly/imports"
BYTES_MAX = 65_536
NAMES_MAX = 50
# For a thread that a module started and that is about to end, such as Matplotlib's timer while it looks for fonts.
THREAD_SECONDS_MAX = 5


def load(quiet, tmp):
    """`quiet`: variables as each job has them, by which libraries keep their caches in `tmp`."""
    names = _names()
    if not names:
        return
    before = dict(os.environ)
    os.environ.update(quiet)
    try:
        for name in names:
            try:
                __import__(name)
            except Exception:
                pass
    finally:
        os.environ.clear()
        os.environ.update(before)
        _remove(os.path.join(tmp, ".cache"))
    _end_threads()


def take_variables(variables):
    """Variables of a job that would have decided, had the module been imported by it."""
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is None or "MPLBACKEND" not in variables:
        return
    try:
        matplotlib.use(variables["MPLBACKEND"])
    except Exception:
        # Told at its first figure, by the back end that is missing.
        pass


def _names():
    try:
        with open(PLACE) as file:
            return file.read(BYTES_MAX).split()[:NAMES_MAX]
    except (OSError, ValueError):
        return []


def _remove(place):
    """What is found is read again by no module of this process, and no job finds what another one did not make."""
    for folder, folders, files in os.walk(place, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            os.rmdir(os.path.join(folder, name))
    if os.path.isdir(place):
        os.rmdir(place)


def _end_threads():
    threading = sys.modules.get("threading")
    if threading is None:
        return
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(THREAD_SECONDS_MAX)
