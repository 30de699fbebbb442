"""Standard library and runner modules, immune to shadowing by a job's files."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
_path = [HERE, *(path for path in sys.path if path != HERE)]
_prefix = sys.pycache_prefix
_held = {}


def own(name):
    """Loads a module from its own location; a job's module of that name stays in place."""
    if name in _held:
        return _held[name]
    theirs = {key: module for key, module in sys.modules.items() if not _is_own(module)}
    before, path = set(sys.modules), list(sys.path)
    for key in theirs:
        del sys.modules[key]
    sys.path[:] = _path
    prefix, sys.pycache_prefix = sys.pycache_prefix, _prefix if name.startswith("mayfly_") else None
    try:
        __import__(name)
        _held[name] = sys.modules[name]
    finally:
        sys.pycache_prefix = prefix
        sys.path[:] = path
        for key in set(sys.modules) - before:
            if key.startswith("mayfly_"):
                del sys.modules[key]
        sys.modules.update(theirs)
    return _held[name]


def give_way(pristine, folder, names=None):
    """Unloads modules loaded for the runner alone whose names collide with the job's modules, or are the
    runner's. `names`: those in the folder, if they are known."""
    try:
        brought = {name.partition(".")[0] for name in (os.listdir(folder) if names is None else names)}
    except OSError:
        brought = set()
    for name in list(sys.modules):
        top = name.partition(".")[0]
        if top.startswith("mayfly_") or (top in brought and top not in pristine):
            del sys.modules[name]
    for place in [place for place in sys.path_importer_cache if place.startswith(HERE)]:
        del sys.path_importer_cache[place]


def _is_own(module):
    """True if the module belongs to Python or the runner; unknown origins count as the job's."""
    try:
        origin = module.__spec__.origin
    except AttributeError:
        return module is sys.modules.get("__main__")
    if origin in (None, "built-in", "frozen"):
        return origin is not None
    return isinstance(origin, str) and any(origin.startswith(path + "/") for path in _path)
