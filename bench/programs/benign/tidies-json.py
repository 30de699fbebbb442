"""json.tool of the standard library, as a program."""
import json
import subprocess
import sys

text = json.dumps({"rows": [{"n": n, "word": "x" * (n % 9)} for n in range(800)]})
done = subprocess.run([sys.executable, "-m", "json.tool"], input=text, capture_output=True, text=True)
result = [done.returncode, len(done.stdout.splitlines())]
