# allow: http://a.example:PORT
"""A web fetch by the granted way out."""
import json
import urllib.request

with urllib.request.urlopen("http://a.example:PORT/page", timeout=10) as answer:
    result = json.load(answer)["line"]
