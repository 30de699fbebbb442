from multiprocessing import Pool
import math


def is_prime(n):
    if n < 2:
        return False
    for d in range(2, math.isqrt(n) + 1):
        if n % d == 0:
            return False
    return True


def count_primes(bounds):
    lo, hi = bounds
    return sum(is_prime(i) for i in range(lo, hi))


if __name__ == "__main__":
    chunks = [(i, i + 5000) for i in range(0, 40000, 5000)]
    with Pool(processes=2) as pool:
        counts = pool.map(count_primes, chunks)
    for (lo, hi), c in zip(chunks, counts):
        print(f"{lo:>6} - {hi:<6} {c} primes")
    print("Total:", sum(counts))
