import argparse
import hashlib
import json
from collections import defaultdict
from pathlib import Path


def digest(path: Path, algorithm: str) -> str:
    h = hashlib.new(algorithm)
    h.update(path.read_bytes())
    return h.hexdigest()


def find_duplicates(root: Path, algorithm: str) -> dict[str, list[Path]]:
    # compare sizes first, hashing is slow
    by_size = defaultdict(list)
    for p in sorted(root.rglob("*")):
        if p.is_file():
            by_size[p.stat().st_size].append(p)
    groups = defaultdict(list)
    for size, paths in by_size.items():
        if len(paths) > 1:
            for p in paths:
                groups[digest(p, algorithm)].append(p)
    return {h: ps for h, ps in groups.items() if len(ps) > 1}


def main():
    parser = argparse.ArgumentParser(prog="dupes")
    parser.add_argument("root", type=Path)
    parser.add_argument("--algorithm", choices=sorted({"md5", "sha1", "sha256"}), default="sha256")
    parser.add_argument("--delete-empty", action="store_true")
    args = parser.parse_args()

    if args.delete_empty:
        for p in args.root.rglob("*"):
            if p.is_file() and p.stat().st_size == 0:
                p.unlink()
                print("removed empty", p)

    dupes = find_duplicates(args.root, args.algorithm)
    wasted = 0
    for h, paths in dupes.items():
        print(h[:12], *(p.relative_to(args.root).as_posix() for p in paths), sep="\n    ")
        wasted += paths[0].stat().st_size * (len(paths) - 1)
    print(f"{len(dupes)} groups, {wasted} bytes wasted")
    Path("duplicates.json").write_text(json.dumps({h: [str(p) for p in ps] for h, ps in dupes.items()}, indent=2))


main()
