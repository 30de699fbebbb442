import argparse
import asyncio
from collections import deque

SITE = {
    "/": ["/about", "/blog", "/shop"],
    "/about": ["/", "/team"],
    "/team": ["/about"],
    "/blog": ["/blog/1", "/blog/2", "/"],
    "/blog/1": ["/blog/2"],
    "/blog/2": ["/blog/1", "/broken"],
    "/shop": ["/shop/cart"],
    "/shop/cart": ["/checkout"],
    "/checkout": [],
}


class PageNotFound(Exception):
    pass


async def fetch(path: str) -> list[str]:
    await asyncio.sleep(0.002 * len(path))
    try:
        return SITE[path]
    except KeyError:
        raise PageNotFound(path) from None


async def crawl(start: str, max_depth: int):
    seen = {start: 0}
    errors = []
    level = deque([start])
    for depth in range(1, max_depth + 2):
        pages = list(level)
        level.clear()
        responses = await asyncio.gather(*map(fetch, pages), return_exceptions=True)
        for page, links in zip(pages, responses):
            if isinstance(links, PageNotFound):
                errors.append(page)
                continue
            for link in links:
                if link not in seen and depth <= max_depth:
                    seen[link] = depth
                    level.append(link)
        if not level:
            break
    return seen, errors


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("start")
    ap.add_argument("--depth", "-d", type=int, default=3)
    ns = ap.parse_args()
    for depth in range(ns.depth, ns.depth + 2):
        seen, errors = asyncio.run(crawl(ns.start, depth))
        print(f"depth {depth}: {len(seen)} pages, broken: {errors or 'none'}")
    for path, d in seen.items():
        print("  " * d + path)


if __name__ == "__main__":
    main()
