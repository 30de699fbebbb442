# expects: late-activity
# wall: embedded
# allow: http://a.example:PORT
"""Does nothing until nobody looks any more, and then something that it never did before."""
import time
import urllib.request

print("calm", flush=True)
time.sleep(3.6)
print(urllib.request.urlopen("http://a.example:PORT/", timeout=5).status)
