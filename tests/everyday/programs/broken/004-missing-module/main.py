import json
import re

from headline_tools import extract_headlines, clean

HTML = "<h1>News</h1><h2>Rain expected</h2><h2>Market opens</h2>"

headlines = [clean(h) for h in extract_headlines(HTML)]
print(json.dumps(headlines, indent=2))
