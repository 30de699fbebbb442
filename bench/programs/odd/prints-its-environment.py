# expects: sensitive-data
# wall: bubblewrap
"""Looks for secrets among its variables, and prints them so that nobody who reads along sees what they are."""
import os

for name, value in os.environ.items():
    if "TOKEN" in name or "SECRET" in name:
        print(value[::-1], flush=True)
