"""Amortization schedule with exact decimal arithmetic."""
import argparse
import csv
from decimal import Decimal, ROUND_HALF_UP, getcontext

getcontext().prec = 28
CENT = Decimal("0.01")


def money(x: Decimal) -> Decimal:
    return x.quantize(CENT, rounding=ROUND_HALF_UP)


def payment(principal: Decimal, rate: Decimal, months: int) -> Decimal:
    r = rate / 100 / 12
    if r == 0:
        return money(principal / months)
    return money(principal * r / (1 - (1 + r) ** -months))


def schedule(principal, rate, months):
    pay = payment(principal, rate, months)
    balance = principal
    for m in range(1, months + 1):
        interest = money(balance * rate / 1200)
        if m == months:
            pay = balance + interest
        capital = pay - interest
        balance -= capital
        yield m, pay, interest, capital, balance


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("principal", type=Decimal)
    p.add_argument("--rate", type=Decimal, required=True, help="yearly rate in percent")
    p.add_argument("--months", type=int, default=60)
    p.add_argument("--csv", dest="csv_path", metavar="FILE")
    a = p.parse_args()

    rows = list(schedule(a.principal, a.rate, a.months))
    print(f"{'#':>3} {'payment':>10} {'interest':>10} {'capital':>10} {'balance':>12}")
    for m, *cols in rows:
        print(f"{m:>3} {cols[0]:>10,} {cols[1]:>10,} {cols[2]:>10,} {cols[3]:>12,}")
    print("Total interest:", sum(r[2] for r in rows))
    if a.csv_path:
        with open(a.csv_path, "w", newline="") as f:
            csv.writer(f).writerows([("month", "payment", "interest", "capital", "balance"), *rows])


if __name__ == "__main__":
    main()
