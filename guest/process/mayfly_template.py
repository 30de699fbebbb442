"""The template of Python: a warm interpreter that runs no job and forks those that do (guest/zygote/zygote.c).

It has loaded Mayfly's own files and the standard library, and parses no input: the C library reads the requests, and its
serve() returns only in the children, behind the complete wall. Each child reseeds its random generators, as far as CPython
allows: the hash seed and the address layout are the same in all children of one template."""

import gc
import os
import sys

import mayfly_wire

LIBRARY = "/opt/mayfly/template/zygote.so"


def serve():
    """Signals readiness of the template; returns only in forked children."""
    before = set(sys.modules)
    import ctypes

    library = ctypes.PyDLL(LIBRARY)
    if library.hide() != 0:
        raise OSError("Cannot hide the template")
    wait, python = library.serve, ctypes.pythonapi
    wait.argtypes, wait.restype = [], None
    begin, over = python.PyOS_BeforeFork, python.PyOS_AfterFork_Child
    begin.restype = over.restype = None
    # Unloads ctypes: a job must see only modules that Python loads by itself.
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
    """Reseeds loaded modules; others seed themselves when they are loaded. os.urandom needs no reseeding."""
    # A session may have a module of its own by this name.
    generator = getattr(sys.modules.get("random"), "_inst", None)
    if hasattr(generator, "seed"):
        generator.seed()
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
    if hasattr(numpy, "seed"):
        numpy.seed()
    threading = sys.modules.get("threading")
    if threading:
        threading.main_thread()._set_native_id()
