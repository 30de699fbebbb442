"""A picture as text, as notebooks print them."""
import base64
import os

print("here it is:", flush=True)
print(base64.b64encode(os.urandom(60_000)).decode(), flush=True)
