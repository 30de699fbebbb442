# expects: denied-burst
# wall: embedded
# allow: http://a.example:PORT
"""Asks for one port after the other of a host that it may reach at one."""
import urllib.error
import urllib.request

refused = 0
for port in range(1, 80):
    try:
        urllib.request.urlopen(f"http://a.example:{port}/", timeout=5)
    except urllib.error.URLError:
        refused += 1
print(refused)
