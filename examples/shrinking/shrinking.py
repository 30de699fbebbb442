"""Tells each second what it may still do: whether its way out answers, and how much of a core it gets."""

import time
import urllib.error
import urllib.request


def network():
    try:
        return f"let out, {urllib.request.urlopen('http://api.example.com/', timeout=2).status}"
    except urllib.error.HTTPError as error:
        return "refused" if error.code == 403 else "let out, nobody there"
    except OSError as error:
        return f"closed ({error})"


def core(seconds):
    wall, used = time.monotonic(), time.process_time()
    while time.monotonic() - wall < seconds:
        pass
    return (time.process_time() - used) / (time.monotonic() - wall)


began = time.monotonic()
while True:
    print(f"{time.monotonic() - began:4.1f} s  network: {network():24}  core: {core(0.7):.2f}", flush=True)
    time.sleep(0.3)
