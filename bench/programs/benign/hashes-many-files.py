"""sha256 of many files."""
import hashlib
import pathlib

folder = pathlib.Path("many")
folder.mkdir()
for n in range(200):
    (folder / f"{n}.bin").write_bytes(bytes([n]) * 20_000)
sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
result = len(set(sums.values()))
