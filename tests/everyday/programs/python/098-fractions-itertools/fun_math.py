from datetime import date, datetime, timedelta, timezone
from fractions import Fraction as F
from functools import cache, reduce
from itertools import accumulate, chain, count, cycle, groupby, islice, pairwise, permutations, product, takewhile, zip_longest
from math import ceil, gcd
import operator


def egyptian(frac):
    while frac:
        d = ceil(1 / frac)
        yield F(1, d)
        frac -= F(1, d)


def farey(n):
    return sorted({F(a, b) for b in range(1, n + 1) for a in range(b + 1)})


def primes():
    found = []
    for n in count(2):
        if all(n % p for p in takewhile(lambda p: p * p <= n, found)):
            found.append(n)
            yield n


@cache
def partitions(n, m=None):
    m = n if m is None else m
    if n == 0:
        return 1
    return sum(partitions(n - k, k) for k in range(1, min(n, m) + 1))


def rle(text):
    return [(ch, len(list(g))) for ch, g in groupby(text)]


print("7/15 =", " + ".join(map(str, egyptian(F(7, 15)))))
print("Farey 5:", *farey(5))
print("neighbours ok:", all(b.numerator * a.denominator - a.numerator * b.denominator == 1 for a, b in pairwise(farey(7))))
print("primes:", list(islice(primes(), 12)))
print("factorials:", list(accumulate(range(1, 9), operator.mul)))
print("partitions(60):", partitions(60))
print("lcm 1..20:", reduce(lambda a, b: a * b // gcd(a, b), range(1, 21)))
print("rle:", "".join(f"{n}{c}" for c, n in rle("aaabccddddd")))
print("changes:", len({p for p in permutations("1234") if p[0] != "4"}), "".join(chain.from_iterable(zip_longest("ace", "bdfgh", fillvalue="_"))))
print("dice 7s:", sum(1 for d in product(range(1, 7), repeat=2) if sum(d) == 7))

for shift, day in zip(cycle(["early", "late", "night"]), (date(2024, 2, 27) + timedelta(days=i) for i in range(4))):
    print(f"{day:%a %d %b} week {day.isocalendar().week}: {shift}")
meeting = datetime(2024, 3, 31, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
print(meeting.astimezone(timezone.utc).isoformat(), (date(2024, 12, 25) - meeting.date()).days, "days to go")
