"""An honest rest, and one line after it."""
import time

time.sleep(4)
print("rested")
