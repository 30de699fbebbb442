#!/usr/bin/env python3
"""Exit status: 0 all valid, 1 some invalid, 2 usage."""
import json
import re
import sys

SCHEMA = {
    "id": (int, None),
    "type": (str, re.compile(r"click|scroll|key")),
    "at": (str, re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")),
}
DATA = {"click": {"x", "y"}, "key": {"code"}, "scroll": set()}


def problems(event, seen):
    for name, (typ, pattern) in SCHEMA.items():
        if name not in event:
            yield f"missing {name}"
        elif not isinstance(event[name], typ):
            yield f"{name} should be {typ.__name__}, is {type(event[name]).__name__}"
        elif pattern and not pattern.fullmatch(event[name]):
            yield f"bad {name}: {event[name]}"
    if event.get("id") in seen:
        yield f"duplicate id {event['id']}"
    seen.add(event.get("id"))
    missing = DATA.get(event.get("type"), set()) - event.get("data", {}).keys()
    if missing:
        yield f"data lacks {', '.join(sorted(missing))}"


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    seen, bad, total = set(), 0, 0
    with open(sys.argv[1]) as f:
        for n, line in enumerate(f, 1):
            total += 1
            try:
                errors = list(problems(json.loads(line), seen))
            except json.JSONDecodeError as e:
                errors = [f"not JSON ({e.msg})"]
            if errors:
                bad += 1
                print(f"{sys.argv[1]}:{n}: " + "; ".join(errors))
    print(f"{total - bad}/{total} valid")
    return 1 if bad else 0


sys.exit(main())
