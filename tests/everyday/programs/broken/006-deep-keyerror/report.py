import json
import sys

from orders import month_totals


def main(path):
    with open(path) as f:
        data = json.load(f)
    print(f"{len(data)} months loaded")
    for month, total in month_totals(data).items():
        print(f"{month}: {total:.2f}")


if __name__ == "__main__":
    main(sys.argv[1])
