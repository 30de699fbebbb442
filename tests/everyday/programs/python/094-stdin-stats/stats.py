import statistics as st
import sys
from fractions import Fraction


def read_numbers(stream):
    bad = []
    numbers = []
    for lineno, line in enumerate(stream, start=1):
        line = line.split("#")[0]
        for token in line.split():
            try:
                numbers.append(float(token))
            except ValueError:
                bad.append((lineno, token))
    return numbers, bad


def main(strict="--strict" in sys.argv[1:]):
    numbers, bad = read_numbers(sys.stdin)
    for lineno, token in bad:
        print(f"line {lineno}: not a number: {token}", file=sys.stderr)
    if not numbers:
        sys.exit("no input")
    print("count ", len(numbers))
    print("sum   ", sum(numbers))
    print("mean  ", round(st.mean(numbers), 4))
    print("median", st.median(numbers))
    print("mode  ", st.mode(numbers))
    print("stdev ", f"{st.stdev(numbers):.4f}")
    print("exact mean", sum(map(Fraction, numbers)) / len(numbers))
    if bad and strict:
        sys.exit(65)


main()
