import json
import sys
from typing import Any, Iterator


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for k, v in value.items():
            yield from flatten(v, f"{prefix}.{k}" if prefix else k)
    elif isinstance(value, list) and value:
        for i, v in enumerate(value):
            yield from flatten(v, f"{prefix}[{i}]")
    else:
        yield prefix, value


def unflatten(pairs):
    root: dict = {}
    for path, value in pairs:
        keys = []
        for part in path.replace("[", ".[").split("."):
            keys.append(int(part[1:-1]) if part.startswith("[") else part)
        node = root
        for key, nxt in zip(keys, keys[1:]):
            empty = [] if isinstance(nxt, int) else {}
            if isinstance(node, list):
                if key == len(node):
                    node.append(empty)
                node = node[key]
            else:
                node = node.setdefault(key, empty)
        if isinstance(node, list):
            node.append(value)
        else:
            node[keys[-1]] = value
    return root


if __name__ == "__main__":
    doc = json.load(sys.stdin)
    flat = dict(flatten(doc))
    width = max(map(len, flat))
    for k, v in flat.items():
        print(f"{k:<{width}} = {json.dumps(v, ensure_ascii=False)}")
    assert unflatten(flat.items()) == doc
    print("round trip ok")
    try:
        json.loads('{"a": [1, 2,, 3]}')
    except json.JSONDecodeError as e:
        print(f"bad json at line {e.lineno} column {e.colno}: {e.msg}")
