from .plain import render as plain
from ..analysis import words


def render(title, data):
    rows = "\n".join(f"| {k} | {v} |" for k, v in data.items())
    assert len(words(title)) == 1 or plain(title, {})
    return f"## {title}\n\n| key | value |\n|---|---|\n{rows}"
