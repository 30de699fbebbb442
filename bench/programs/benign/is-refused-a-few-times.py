# allow: http://a.example:PORT
"""Tries a host that it may not reach, waits longer each time, and gives up."""
import time
import urllib.error
import urllib.request

tries = 0
for wait in (0.05, 0.1, 0.2, 0.4):
    try:
        urllib.request.urlopen("http://other.example:PORT/", timeout=5)
    except urllib.error.URLError:
        tries += 1
        time.sleep(wait)
result = tries
