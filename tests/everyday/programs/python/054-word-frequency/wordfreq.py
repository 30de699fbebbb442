#!/usr/bin/env python3
"""Count words in text files.

Usage: wordfreq.py FILE [FILE ...] [-n N]
"""
import argparse
import re
import sys
from collections import Counter
from itertools import chain

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?", re.I)


def words(stream):
    for line in stream:
        yield from (m.group().lower() for m in WORD.finditer(line))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=argparse.FileType("r"))
    parser.add_argument("-n", type=int, default=10, help="how many words (default %(default)s)")
    parser.add_argument("--min-length", type=int, default=1)
    parser.add_argument("--ignore", nargs="*", default=[])
    args = parser.parse_args(argv)

    counter = Counter(
        w for w in chain.from_iterable(words(f) for f in args.files)
        if len(w) >= args.min_length and w not in args.ignore
    )
    total = sum(counter.values())
    if not total:
        print("no words", file=sys.stderr)
        return 1
    width = max(len(w) for w, _ in counter.most_common(args.n))
    for word, count in counter.most_common(args.n):
        print(f"{word:>{width}} {count:3d} {count / total:6.1%} {'▇' * count}")
    print(f"{total} words, {len(counter)} distinct")


if __name__ == "__main__":
    sys.exit(main())
