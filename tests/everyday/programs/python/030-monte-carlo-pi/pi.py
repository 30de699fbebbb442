import sys
import numpy as np


def estimate_pi(n: int, rng: np.random.Generator) -> float:
    pts = rng.random((n, 2))
    return 4 * np.count_nonzero((pts ** 2).sum(axis=1) <= 1) / n


def main(max_n=100_000):
    rng = np.random.default_rng(2718)
    n = 100
    while n <= max_n:
        est = estimate_pi(n, rng)
        print(f"n={n:>9,}  pi≈{est:.6f}  error={abs(est - np.pi):.6f}")
        n *= 10
    print("batch std:", np.std([estimate_pi(1000, rng) for _ in range(50)]).round(5))


main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
