"""A data job over a CSV."""
import csv
import random
import statistics

chance = random.Random(7)
with open("sales.csv", "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["region", "sum"])
    rows.writerows([f"r{n % 7}", f"{chance.uniform(1, 100):.2f}"] for n in range(20_000))
sums = {}
with open("sales.csv", newline="") as file:
    for row in csv.DictReader(file):
        sums.setdefault(row["region"], []).append(float(row["sum"]))
result = {region: round(statistics.median(all), 1) for region, all in sums.items()}
