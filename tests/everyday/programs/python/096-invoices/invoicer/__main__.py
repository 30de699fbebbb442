import argparse
import json
from pathlib import Path

from .models import Invoice
from .render import as_index, as_text


def main():
    p = argparse.ArgumentParser(prog="invoicer")
    p.add_argument("--input", required=True, type=Path)
    p.add_argument("--outdir", default="out", type=Path)
    a = p.parse_args()
    a.outdir.mkdir(exist_ok=True)
    invoices = [Invoice.from_dict(d) for d in json.loads(a.input.read_text())]
    for inv in invoices:
        text = as_text(inv)
        (a.outdir / f"{inv.number}.txt").write_text(text)
        print(text)
    (a.outdir / "index.html").write_text(as_index(invoices))
    print("Sum:", sum(i.total for i in invoices))


if __name__ == "__main__":
    main()
