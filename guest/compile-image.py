"""Compiles the Python of an image: `compile-image.py SPOOL INDEX INTO`.

INDEX has a line for each source: the offset and the size of its bytes in SPOOL, and its path in the image. Writes the
compiled files to INTO, one after another, and prints the suffix of their names, then a size for each line of INDEX: 0 where
the source does not compile. A compiled file names no time and no size of its source, and Python takes it unchecked
(PEP 552): the image is read-only.

The same sources give the same bytes: the caller sets PYTHONHASHSEED and no other variable. It runs nothing of what it
compiles, and needs no module that is a file but that of the encoding."""

import _frozen_importlib_external as loader
import _imp
import marshal
import sys

def compiled(source, path):
    try:
        code = compile(source, f"/{path}", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return b""
    check = _imp.source_hash(loader._RAW_MAGIC_NUMBER, source)
    return loader._code_to_hash_pyc(code, check, False)


def main(spool, index, into):
    print(f".{sys.implementation.cache_tag}.pyc")
    with open(spool, "rb") as sources, open(index) as lines, open(into, "xb") as out:
        for line in lines:
            at, size, path = line.rstrip("\n").split(" ", 2)
            sources.seek(int(at))
            print(out.write(compiled(sources.read(int(size)), path)))


main(*sys.argv[1:])
