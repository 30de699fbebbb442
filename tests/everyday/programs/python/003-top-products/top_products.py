#!/usr/bin/env python3
import argparse
import sys

import pandas as pd


def parse_args():
    p = argparse.ArgumentParser(description="Top products by revenue")
    p.add_argument("csv")
    p.add_argument("--top", type=int, default=5)
    p.add_argument("--min-units", type=int, default=0)
    return p.parse_args()


def main() -> int:
    args = parse_args()
    try:
        df = pd.read_csv(args.csv, sep=";", decimal=",")
    except FileNotFoundError:
        print(f"error: {args.csv} not found", file=sys.stderr)
        return 2

    result = (
        df.assign(revenue=lambda d: d.units * d.unit_price)
        .groupby(["sku", "name"], as_index=False)
        .agg(units=("units", "sum"), revenue=("revenue", "sum"))
        .query("units >= @args.min_units")
        .nlargest(args.top, "revenue")
        .reset_index(drop=True)
    )
    result.index += 1
    print(result.to_string(formatters={"revenue": "{:,.2f} €".format}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
