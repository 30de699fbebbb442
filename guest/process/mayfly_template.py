"""The template of Python: a warm interpreter that runs no job and forks those that do (guest/zygote/zygote.c).

It has read Mayfly's own files and the standard library, and reads nothing else: requests are read by the C library, of
which a child returns once, behind its whole wall. What an interpreter draws once is drawn anew there, as far as CPython
has a way: the seed of its hashes, like the layout of addresses, is the same in all children of one template."""

import gc
import os
import sys

import mayfly_wire

LIBRARY = "/opt/mayfly/template/zygote.so"


def serve():
    """Says that the template is ready, and returns in each forked child alone."""
    before = set(sys.modules)
    import ctypes

    library = ctypes.PyDLL(LIBRARY)
    if library.hide() != 0:
        raise OSError("Cannot hide the template")
    wait, python = library.serve, ctypes.pythonapi
    wait.argtypes, wait.restype = [], None
    begin, over = python.PyOS_BeforeFork, python.PyOS_AfterFork_Child
    begin.restype = over.restype = None
    # A job finds no module that Python has not loaded by itself.
    for name in set(sys.modules) - before:
        del sys.modules[name]
    del ctypes, library, python
    gc.collect()
    gc.freeze()
    os.write(mayfly_wire.READY_FD, b"R")
    begin()
    wait()
    over()
    renew()


def renew():
    """Draws seeds anew. The kernel's own source needs none; modules that are not loaded yet draw theirs when they are."""
    random = sys.modules.get("random")
    if random:
        random._inst.seed()
    tempfile = sys.modules.get("tempfile")
    if tempfile:
        tempfile._name_sequence = None
    uuid = sys.modules.get("uuid")
    if uuid:
        uuid._node = uuid._last_timestamp = None
    ssl = sys.modules.get("_ssl")
    if ssl:
        ssl.RAND_add(os.urandom(32), 32.0)
    numpy = sys.modules.get("numpy.random")
    if numpy:
        numpy.seed()
    threading = sys.modules.get("threading")
    if threading:
        threading.main_thread()._set_native_id()
