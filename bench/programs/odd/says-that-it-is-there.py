# expects: beaconing
# wall: bubblewrap
# allow: http://*.example:PORT
"""Tells somebody outside, again and again, that it is there."""
import time
import urllib.request

for beat in range(8):
    urllib.request.urlopen(f"http://c2.example:PORT/beat?{beat}", timeout=5).read()
    time.sleep(0.4)
