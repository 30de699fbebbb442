#!/usr/bin/env python3
import configparser
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter


def closure(cfg, name, graph=None):
    graph = {} if graph is None else graph
    if name in graph:
        return graph
    if name not in cfg:
        sys.exit(f"runner: unknown task {name!r}")
    graph[name] = cfg[name].get("needs", "").split()
    for dep in graph[name]:
        closure(cfg, dep, graph)
    return graph


def main(argv):
    cfg = configparser.ConfigParser(interpolation=None)
    cfg.read("tasks.ini")
    targets = argv or ["package"]
    graph = {}
    for t in targets:
        closure(cfg, t, graph)
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as e:
        sys.exit("runner: cycle " + " -> ".join(e.args[1]))
    for i, task in enumerate(order, 1):
        cmd = cfg[task].get("run")
        print(f"[{i}/{len(order)}] {task}: {cmd}", flush=True)
        if cmd:
            rc = subprocess.call(cmd, shell=True, env={**os.environ, "LC_ALL": "C"})
            if rc:
                print(f"task {task} failed ({rc})", file=sys.stderr)
                return rc
    print("done 🎯")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
