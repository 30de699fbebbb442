# allow: http://*.example:PORT
"""One page after the other, as fast as they come."""
import urllib.request

size = 0
for n in range(30):
    with urllib.request.urlopen(f"http://h{n % 5}.example:PORT/page/{n}", timeout=10) as answer:
        size += len(answer.read())
result = size > 0
