"""Tiny map/reduce over a few documents."""
import multiprocessing as mp
from collections import Counter
from functools import reduce
from operator import add

DOCS = {
    "a.txt": "the quick brown fox jumps over the lazy dog " * 30,
    "b.txt": "the dog sleeps while the fox runs " * 40,
    "c.txt": "quick quick slow " * 50,
}


def mapper(item):
    name, text = item
    counts = Counter(text.split())
    return name, counts


def main(workers=2):
    ctx = mp.get_context("spawn")
    with ctx.Pool(workers) as pool:
        mapped = sorted(pool.imap_unordered(mapper, DOCS.items()))
    for name, counts in mapped:
        print(name, sum(counts.values()), "words")
    total = reduce(add, (c for _, c in mapped))
    for word, n in sorted(total.items(), key=lambda kv: (-kv[1], kv[0]))[:6]:
        print(f"{word:<8}{n:>5}")


if __name__ == "__main__":
    main()
