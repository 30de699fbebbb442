import sys
from pathlib import Path

import textkit
from textkit import TextStats, get_formatter


def report(path):
    text = Path(path).read_text()
    data = vars(TextStats.of(text)) | {"palindromes": ", ".join(textkit.palindromes(text))}
    for fmt in textkit.available:
        print(get_formatter(fmt)(f"Report of {Path(path).name}", data))
        print()
    try:
        get_formatter("pdf")
    except ValueError as e:
        print("error:", e)


if __name__ == "__main__":
    command, *args = sys.argv[1:]
    {"report": report}[command](*args)
