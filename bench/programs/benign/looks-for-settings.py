"""Looks for its settings where programs look for them."""
import netrc
import pathlib

found = []
for place in (".env", "settings.toml", "~/.config/app/settings.toml", "~/.npmrc", "~/.netrc"):
    try:
        found.append(pathlib.Path(place).expanduser().read_text())
    except OSError:
        continue
try:
    netrc.netrc()
except OSError:
    found.append("none")
result = len(found)
