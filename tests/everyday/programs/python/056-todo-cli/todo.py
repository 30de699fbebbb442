#!/usr/bin/env python3
import argparse
import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Optional

DB = Path("todos.json")
ICONS = {"low": "🟢", "normal": "🟡", "high": "🔴"}


@dataclass
class Todo:
    id: int
    text: str
    priority: str = "normal"
    due: Optional[str] = None
    done: bool = False

    def __str__(self):
        box = "[x]" if self.done else "[ ]"
        due = f" (due {self.due})" if self.due else ""
        return f"{self.id:>3} {box} {ICONS[self.priority]} {self.text}{due}"


def load():
    return [Todo(**t) for t in json.loads(DB.read_text())] if DB.exists() else []


def save(todos):
    DB.write_text(json.dumps([asdict(t) for t in todos], indent=2) + "\n")


def cmd_add(args):
    todos = load()
    todo = Todo(max((t.id for t in todos), default=0) + 1, args.text, args.priority, args.due and args.due.isoformat())
    todos.append(todo)
    save(todos)
    print("Added:", todo)
    cmd_list(args)


def cmd_list(args):
    for t in load():
        print(t)


def cmd_done(args):
    todos = load()
    for t in todos:
        if t.id == args.id:
            t.done = True
            break
    else:
        raise SystemExit(f"no todo with id {args.id}")
    save(todos)


def build_parser():
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers(required=True)
    add = sub.add_parser("add")
    add.add_argument("text")
    add.add_argument("--priority", choices=ICONS, default="normal")
    add.add_argument("--due", type=date.fromisoformat)
    add.set_defaults(func=cmd_add)
    ls = sub.add_parser("list")
    ls.set_defaults(func=cmd_list)
    done = sub.add_parser("done")
    done.add_argument("id", type=int)
    done.set_defaults(func=cmd_done)
    return parser


if __name__ == "__main__":
    args = build_parser().parse_args()
    args.func(args)
