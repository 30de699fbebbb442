#!/usr/bin/env python3
import concurrent.futures as cf
import hashlib


def mine(block: int, difficulty: int = 3) -> tuple[int, int, str]:
    """Find a nonce so that the hash starts with `difficulty` zeros."""
    nonce = 0
    while True:
        h = hashlib.sha256(f"block-{block}:{nonce}".encode()).hexdigest()
        if h.startswith("0" * difficulty):
            return block, nonce, h
        nonce += 1


def main():
    with cf.ProcessPoolExecutor(max_workers=2) as pool:
        futures = [pool.submit(mine, b) for b in range(6)]
        mined = [f.result() for f in cf.as_completed(futures)]
    mined.sort()
    print(f"⛏️  {len(mined)} blocks mined")
    for block, nonce, h in mined:
        print(f"block {block}: nonce={nonce:<6} {h[:16]}…")


if __name__ == "__main__":
    main()
