import csv
from collections import defaultdict

totals = defaultdict(lambda: {"in": 0.0, "out": 0.0, "n": 0})
skipped = []

with open("transactions.csv", newline="", encoding="utf-8") as f:
    reader = csv.DictReader(f)
    for row in reader:
        try:
            amount = float(row["amount"])
        except ValueError:
            skipped.append((reader.line_num, row["description"]))
            continue
        key = (row["date"][:7], row["currency"])
        totals[key]["in" if amount > 0 else "out"] += amount
        totals[key]["n"] += 1
        print(f"{row['date']} {amount:>10.2f} {row['description']!r}")

with open("summary.csv", "w", newline="") as f:
    writer = csv.DictWriter(f, fieldnames=["month", "currency", "in", "out", "n"], quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    for (month, currency), t in sorted(totals.items()):
        writer.writerow({"month": month, "currency": currency, "n": t["n"], "in": f"{t['in']:.2f}", "out": f"{t['out']:.2f}"})

for line, desc in skipped:
    print(f"skipped line {line}: {desc}")
print(open("summary.csv").read())
