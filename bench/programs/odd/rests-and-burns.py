# expects: cpu-shape
# wall: embedded
"""Waits until nobody looks any more, and then hashes as fast as it can."""
import hashlib
import time

time.sleep(3.6)
until, word = time.monotonic() + 3.2, b""
while time.monotonic() < until:
    for _ in range(10_000):
        word = hashlib.sha256(word).digest()
print(word.hex()[:8])
