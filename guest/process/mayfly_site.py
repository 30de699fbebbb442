"""Installed packages, as `site` offers them at the start of an interpreter, but their .pth files only when one is needed.

A .pth file may run code and import whatever it likes, which takes longer than most jobs. The interpreter is started with
-S, and this module does what site.main() would: folders of packages in sys.path at once, quit, exit and help too, and
the .pth files before the first import of a module that the standard library does not have."""

import os
import site
import sys
from _frozen_importlib import _find_spec
from _frozen_importlib_external import PathFinder

# Part of the standard library that setuptools replaces by a .pth file.
REPLACED = "distutils"


def open_site():
    folders = [folder for folder in site.getsitepackages() if os.path.isdir(folder)]
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    site.setquit()
    site.setcopyright()
    site.sethelper()
    sys.meta_path.insert(0, _PthFiles(folders))


def _is_asked_by_copy(top):
    """Whether `copy` of the standard library looks for `org.python.core`, which Jython alone has: that is no import of a
    package, and `dataclasses`, `pprint` and many others import `copy`. It looks before it has defined `deepcopy`."""
    copy = sys.modules.get("copy")
    is_looking = top == "org" and copy is not None and not hasattr(copy, "deepcopy")
    return is_looking and PathFinder.find_spec(top) is None


class _PthFiles:
    """Finds nothing by itself. Before the first module that is not standard it adds the folders as `site` would, which
    may bring finders of their own, and searches again."""

    def __init__(self, folders):
        self.folders = folders

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        is_standard = top in sys.stdlib_module_names and top != REPLACED
        if not self.folders or is_standard or top.startswith("mayfly_") or _is_asked_by_copy(top):
            return None
        folders, self.folders = self.folders, []
        known = {site.makepath(entry)[1] for entry in sys.path}
        for folder in folders:
            site.addsitedir(folder, known)
        return _find_spec(name, path, target)
