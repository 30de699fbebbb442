# expects: unexpected-syscall
# wall: embedded
# schedule: no-sockets
"""Adds numbers for a while, and then tries for a socket, which its schedule does not foresee."""
import socket
import time

print(sum(range(100_000)), flush=True)
time.sleep(0.2)
try:
    socket.create_connection(("10.0.0.1", 4444), timeout=0.2)
except OSError as error:
    print(error)
