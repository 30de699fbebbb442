import argparse
import gzip
import logging
import os
import random
import re
from collections import Counter, defaultdict
from datetime import datetime, timedelta

LINE = re.compile(r"(?P<ts>\S+) (?P<level>[A-Z]+) \[(?P<mod>[\w.]+)\] (?P<msg>.*)")
logger = logging.getLogger("audit")


def make_log(path):
    random.seed(77)
    ts = datetime(2024, 2, 29, 23, 50)
    with gzip.GzipFile(path, "wb", mtime=0) as gz:
        for _ in range(300):
            ts += timedelta(seconds=random.randint(1, 9))
            level = random.choices(["INFO", "DEBUG", "WARNING", "ERROR"], [60, 25, 10, 5])[0]
            mod = random.choice(["db.pool", "web.auth", "web.cart"])
            gz.write(f"{ts.isoformat()} {level} [{mod}] event {random.randint(1, 99)}\n".encode())


def setup_logging(verbose):
    logger.setLevel(logging.DEBUG)
    to_file = logging.FileHandler("audit.log", mode="w")
    to_file.setFormatter(logging.Formatter("%(levelname)-8s %(message)s"))
    logger.addHandler(to_file)
    if verbose:
        console = logging.StreamHandler()
        console.setLevel(logging.INFO)
        logger.addHandler(console)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--level", default="ERROR")
    parser.add_argument("-v", "--verbose", action="count", default=0)
    args = parser.parse_args()
    setup_logging(args.verbose)

    if not os.path.exists(args.path):
        logger.warning("%s missing, writing an example", args.path)
        make_log(args.path)

    levels = Counter()
    by_day = defaultdict(Counter)
    with gzip.open(args.path, "rt") as f:
        for no, line in enumerate(f, 1):
            m = LINE.match(line)
            levels[m["level"]] += 1
            if m["level"] == args.level:
                by_day[datetime.fromisoformat(m["ts"]).date()][m["mod"]] += 1
                logger.debug("line %d: %s", no, m["msg"])
    logger.info("%d lines read", no)
    print(dict(levels.most_common()))
    for day, mods in sorted(by_day.items()):
        print(day.strftime("%a %d %b %Y"), dict(sorted(mods.items())))


main()
