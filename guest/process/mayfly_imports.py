"""Modules of an image that a parked runner imports before it gets its job.

The image lists them, one per line. They contain no data of any job, and their memory is not charged to a job. If an import
fails here, the job's own import reports the error.

A module reads environment variables when it is imported, so those of the job have no effect on it, except for Matplotlib's
back end."""

import os
import sys

PLACE = "/usr/share/mayfly/imports"
BYTES_MAX = 65_536
NAMES_MAX = 50
# Join timeout for threads that a module started, such as Matplotlib's timer during its font search.
THREAD_SECONDS_MAX = 5


def load(quiet, tmp):
    """Imports the modules. `quiet`: variables that every job has, which put caches of libraries into `tmp`."""
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
    """Applies variables of the job that the preloaded modules would otherwise have read at import."""
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is None or "MPLBACKEND" not in variables:
        return
    try:
        matplotlib.use(variables["MPLBACKEND"])
    except Exception:
        # Matplotlib reports the missing back end at the first figure.
        pass


def _names():
    try:
        with open(PLACE) as file:
            return file.read(BYTES_MAX).split()[:NAMES_MAX]
    except (OSError, ValueError):
        return []


def _remove(place):
    """Deletes the caches: modules of this process read them only once, and no job may find files that it did not create."""
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
