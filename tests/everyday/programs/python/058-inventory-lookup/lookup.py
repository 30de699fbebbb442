import argparse
import difflib
import json
import sys

EXIT_OK, EXIT_OUT_OF_STOCK, EXIT_NOT_FOUND = 0, 4, 3

ap = argparse.ArgumentParser()
ap.add_argument("sku")
ap.add_argument("--file", default="items.json")
opts = ap.parse_args()

with open(opts.file) as f:
    items = json.load(f)

item = items.get(opts.sku)
if item is None:
    print(f"{opts.sku} not found", file=sys.stderr)
    close = difflib.get_close_matches(opts.sku, items, n=1)
    if close:
        print(f"Did you mean {close[0]}?")
    sys.exit(EXIT_NOT_FOUND)
if not item["qty"]:
    print("out of stock:", item["name"])
    sys.exit(EXIT_OUT_OF_STOCK)
print(f"{item['name']}: {item['qty']} pieces")
