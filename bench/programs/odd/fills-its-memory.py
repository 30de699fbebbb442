# expects: memory-shape
# wall: bubblewrap
# memory: 128MB
"""Takes a little more memory again and again and gives none back, up to the edge."""
import time

held = []
for step in range(58):
    held.append(bytearray(b"x") * (2 << 20))
    time.sleep(0.11)
print(len(held))
