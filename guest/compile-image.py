"""Compiles the Python of an image: `compile-image.py SPOOL INDEX INTO`.

INDEX has a line for each source: offset and size of its bytes in SPOOL, and its path in the image. Concatenates the
compiled files to INTO, and prints the suffix of their names, then the size for each line of INDEX: 0 if the source does not
compile. The compiled files are unchecked hash-based pycs (PEP 552), without time and size of the source: the image is
read-only.

Reproducible: the caller sets PYTHONHASHSEED and no other variable. Executes none of the code that it compiles, and imports
no module from a file except the encoding's."""

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
