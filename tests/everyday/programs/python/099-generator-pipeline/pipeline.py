import contextlib
import io
import logging
import sys

log = logging.getLogger("pipeline")
log.addHandler(logging.StreamHandler(sys.stderr))
log.handlers[0].setFormatter(logging.Formatter("[%(levelname)s] %(funcName)s: %(message)s"))
log.setLevel("INFO")

RAW = """\
temp;21.5;kitchen
temp;19;hall
humidity;0.44;kitchen
temp;;garage
temp;hot;attic
door;open;hall
temp;23.5;kitchen
"""


class Stage(contextlib.ContextDecorator):
    depth = 0

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        print("  " * Stage.depth + f"<{self.name}>")
        Stage.depth += 1
        return self

    def __exit__(self, *exc):
        Stage.depth -= 1
        print("  " * Stage.depth + f"</{self.name}>")
        return False


def coroutine(fn):
    def start(*a, **k):
        gen = fn(*a, **k)
        next(gen)
        return gen
    return start


def parse(lines):
    for line in lines:
        kind, value, room = line.rstrip("\n").split(";")
        yield kind, value, room


def only(kind, rows):
    return (r for r in rows if r[0] == kind)


def to_float(rows, rejected):
    for kind, value, room in rows:
        try:
            yield room, float(value)
        except ValueError:
            log.warning("bad value %r in %s", value, room)
            rejected.write(f"{room}\n")


@coroutine
def averager():
    total, n, avg = 0.0, 0, None
    while True:
        value = yield avg
        total += value
        n += 1
        avg = total / n


@Stage("run")
def main():
    with contextlib.ExitStack() as stack:
        rejected = stack.enter_context(open("rejected.txt", "w"))
        stack.callback(print, "  all files closed")
        stack.enter_context(Stage("averages"))
        avg = averager()
        for room, value in to_float(only("temp", parse(io.StringIO(RAW))), rejected):
            print(f"    {room:<8}{value:>6} avg {avg.send(value):.3f}")
        avg.close()

    with contextlib.suppress(FileNotFoundError):
        open("does-not-exist.txt")
        print("never printed")

    buffer = io.StringIO()
    with contextlib.redirect_stdout(buffer):
        print("captured text")
    print("  buffer holds", repr(buffer.getvalue()))


main()
log.info("finished")
