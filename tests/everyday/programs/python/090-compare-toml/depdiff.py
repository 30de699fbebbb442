import pathlib
import re
import sys
import tomllib


def load(path):
    data = tomllib.loads(pathlib.Path(path).read_text())
    deps = {}
    for name, spec in data.get("dependencies", {}).items():
        if isinstance(spec, str):
            spec = {"version": spec}
        deps[name] = (spec["version"], tuple(spec.get("extras", ())))
    return data["project"], deps


def parts(version):
    return tuple(int(x) for x in re.findall(r"\d+", version)[:3])


def kind(a, b):
    for name, x, y in zip(("major", "minor", "patch"), parts(a), parts(b)):
        if x != y:
            return name
    return "same"


(old_p, old), (new_p, new) = map(load, sys.argv[1:3])
print(f"{old_p['name']} {old_p['version']} -> {new_p['version']} ({kind(old_p['version'], new_p['version'])})")
for name in sorted(old.keys() | new.keys()):
    if name not in new:
        print(f"- {name} {old[name][0]}")
    elif name not in old:
        print(f"+ {name} {new[name][0]}")
    elif old[name] != new[name]:
        (v1, e1), (v2, e2) = old[name], new[name]
        extra = f" extras +{sorted(set(e2) - set(e1))}" if e1 != e2 else ""
        print(f"~ {name} {v1} -> {v2} [{kind(v1, v2)}]{extra}")

try:
    tomllib.loads("key = ")
except tomllib.TOMLDecodeError as e:
    print("TOMLDecodeError:", e)
