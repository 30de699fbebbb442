# expects: sensitive-data
# wall: embedded
"""Tries for the password hashes of the machine."""
import pathlib

for name in ("/etc/hostname", "/etc/shadow"):
    try:
        print(len(pathlib.Path(name).read_text()))
    except OSError as error:
        print(error)
