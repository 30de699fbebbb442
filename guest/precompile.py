"""Compiles the modules of the Python runner: `precompile.py FROM AT INTO`.

Writes INTO/AT/NAME.cpython-XY.pyc for each FROM/NAME.py, where a runner at AT looks with `sys.pycache_prefix = INTO`.
Python takes one only if size and modification time of its source still match. It handles no untrusted code."""

import os
import py_compile
import sys

source, at, into = sys.argv[1:]
tag = sys.implementation.cache_tag
for name in sorted(os.listdir(source)):
    module, suffix = os.path.splitext(name)
    if suffix == ".py":
        compiled = f"{into}{at}/{module}.{tag}.pyc"
        py_compile.compile(os.path.join(source, name), compiled, f"{at}/{name}", doraise=True)
