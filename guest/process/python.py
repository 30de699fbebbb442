"""Python runner: waits, warm, for one job.

The kernel is the wall; this process enforces nothing, and its messages are treated as hostile."""

import sys

# Not started by the interpreter (-S): see mayfly_site.
import site

PRISTINE = frozenset(sys.modules)

# Modules of the standard library that the runner's modules import. Imported here, before the cache folder changes below, or
# they would be compiled again.
import _ast
import _functools
import _json
import _signal
import _struct
import atexit
import binascii
import errno
import gc
import io
import math
import os
import resource
import stat
import time
import types

import _socket

HERE = os.path.dirname(os.path.abspath(sys.argv[0]))
# Bytecode of the runner, compiled outside of the wall; without that folder Python compiles the sources.
COMPILED = "/opt/mayfly/compiled"
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
sys.pycache_prefix = COMPILED

import mayfly_entries
import mayfly_ground
import mayfly_json
import mayfly_own
import mayfly_site
import mayfly_wire

sys.pycache_prefix = None
sys.path.remove(HERE)

PROXY = ("127.0.0.1", 3128)
LISTENER_FD = 7
BACKLOG = 64


def main():
    settings = mayfly_json.loads(sys.argv[1])
    is_template = settings.pop("template", False)
    mayfly_site.open_site()
    try:
        if is_template:
            mayfly_entries.warm_up(settings)
            mayfly_own.own("mayfly_template").serve()
            # Continues in a forked child, behind its wall.
            sys.modules.pop("mayfly_template", None)
        restore_signals()
        # bash sets RLIMIT_CORE in blocks, so one byte can only be set here; it prevents piped core dumps to
        # host programs, too.
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        cap = 0 if hard == 0 else 1
        resource.setrlimit(resource.RLIMIT_CORE, (cap, cap))
        if settings["listens"] and not stat.S_ISSOCK(os.fstat(LISTENER_FD).st_mode):
            listen()
        if settings["warm"] and not is_template:
            mayfly_entries.warm_up(settings)
            mayfly_entries.make_out(settings)
        if settings["warm"]:
            mayfly_ground.prepare(settings)
        # A machine that may be cloned while this runner waits reseeds after the claim.
        is_cloned = settings.get("cloned", False)
        renew = mayfly_own.own("mayfly_template").renew if is_cloned else None
        clone = mayfly_own.own("mayfly_clone") if is_cloned and settings["warm"] else None
        mayfly_wire.say_ready()
        if clone:
            # Random values of this warm-up are drawn again after the claim.
            clone.wait(lambda: (mayfly_entries.warm_up(settings), renew()))
    except BaseException as error:
        mayfly_wire.say_unready(error)
        os._exit(1)
    kind, payload = mayfly_wire.next_frame()
    if renew:
        renew()
    problem = None
    while kind == mayfly_wire.AHEAD:
        try:
            if problem is None:
                mayfly_ground.take_ahead(payload, settings)
        except BaseException as error:
            problem = error
        kind, payload = mayfly_wire.next_frame()
    if kind != mayfly_wire.RUN:
        os._exit(0 if kind is None else 1)
    task = mayfly_json.loads(payload)
    if task.get("session") and problem is None:
        mayfly_own.own("mayfly_session").serve(task, settings, PRISTINE)
    mayfly_entries.run(task, settings, PRISTINE, problem)


def restore_signals():
    """Resets signals that launchers ignore, since execve keeps that."""
    _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
    _signal.signal(_signal.SIGHUP, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def listen():
    server = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    server.bind(PROXY)
    server.listen(BACKLOG)
    os.dup2(server.fileno(), LISTENER_FD, inheritable=False)
    server.close()


main()
