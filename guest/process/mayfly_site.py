"""Replacement of site.main() that processes .pth files lazily.

A .pth file may run code and import any module, which takes longer than most jobs. The interpreter is started with -S. This
module adds the package folders to sys.path and defines quit, exit and help at once, and processes the .pth files before
the first import of a module outside of the standard library."""

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


def _is_import_by_copy(top):
    """True for the import of `org.python.core` by the standard library's `copy`, which only Jython has: not the import of a
    package, and `dataclasses`, `pprint` and many others import `copy`. `copy` tries it before it defines `deepcopy`."""
    copy = sys.modules.get("copy")
    is_copy_import = top == "org" and copy is not None and not hasattr(copy, "deepcopy")
    return is_copy_import and PathFinder.find_spec(top) is None


class _PthFiles:
    """Import hook: before the first non-standard module it processes the folders' .pth files, which may install finders,
    and then repeats the search."""

    def __init__(self, folders):
        self.folders = folders

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        is_standard = top in sys.stdlib_module_names and top != REPLACED
        if not self.folders or is_standard or top.startswith("mayfly_") or _is_import_by_copy(top):
            return None
        folders, self.folders = self.folders, []
        known = {site.makepath(entry)[1] for entry in sys.path}
        for folder in folders:
            site.addsitedir(folder, known)
        return _find_spec(name, path, target)
