import csv
import sys
from pathlib import Path

DATA_DIR = Path("data")


def read(name):
    with open(DATA_DIR / name, newline="") as f:
        return [(row["sensor"], float(row["value"])) for row in csv.DictReader(f)]


def main():
    rows = read(sys.argv[1])
    values = [v for _, v in rows]
    print("n =", len(values), "mean =", sum(values) / len(values))


main()
