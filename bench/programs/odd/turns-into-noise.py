# expects: output-growth
# wall: bubblewrap
"""Prints lines that anybody could read, and then what nobody can."""
import os
import sys
import time

for line in range(40):
    print(f"line {line}: all is as it should be, and there is nothing to see here", flush=True)
time.sleep(0.3)
sys.stdout.buffer.write(os.urandom(48_000))
