"""difflib over two texts that differ a little."""
import difflib

old = [f"line {n}" for n in range(1500)]
new = [line if n % 50 else line + " changed" for n, line in enumerate(old)]
result = sum(1 for line in difflib.unified_diff(old, new) if line.startswith("+"))
