"""tarfile over a folder of its own, and what the standard library's folder has in it."""
import os
import pathlib
import tarfile

source = pathlib.Path("source")
source.mkdir()
for n in range(100):
    (source / f"{n}.txt").write_text("text\n" * n)
with tarfile.open("source.tar.gz", "w:gz") as archive:
    archive.add("source")
modules = sum(1 for _, _, names in os.walk(os.path.dirname(os.__file__)) for one in names if one.endswith(".py"))
result = modules > 100
