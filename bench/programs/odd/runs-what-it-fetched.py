# expects: exec-of-written
# wall: bubblewrap
# allow: http://a.example:PORT
"""Fetches something, writes it down as a program and runs it."""
import os
import subprocess
import urllib.request

body = urllib.request.urlopen("http://a.example:PORT/tool", timeout=5).read()
path = os.path.join(os.environ["TMPDIR"], "tool")
with open(path, "wb") as file:
    file.write(b"#!/bin/sh\n# " + body + b"\necho hello\n")
os.chmod(path, 0o700)
print(subprocess.run([path], capture_output=True).stdout)
