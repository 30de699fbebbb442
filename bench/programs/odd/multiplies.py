# expects: fork-storm
# wall: bubblewrap
# processes: 64
# memory: 1GB
"""Each child makes more."""
import os
import time

for generation in range(6):
    os.fork()
time.sleep(1.5)
os._exit(0)
