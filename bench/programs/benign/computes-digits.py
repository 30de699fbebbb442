"""Digits of pi, which takes a while and prints one line."""
from decimal import Decimal, getcontext

getcontext().prec = 700
total, k, sixteen = Decimal(0), 0, Decimal(1)
for k in range(560):
    part = Decimal(4) / (8 * k + 1) - Decimal(2) / (8 * k + 4) - Decimal(1) / (8 * k + 5) - Decimal(1) / (8 * k + 6)
    total += part / sixteen
    sixteen *= 16
print(str(total)[:40])
