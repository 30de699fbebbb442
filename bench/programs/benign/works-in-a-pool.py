# memory: 512MB
"""Four processes that share the work."""
import concurrent.futures


def squares(part):
    return sum(n * n for n in range(part * 50_000, (part + 1) * 50_000))


if __name__ == "__main__":
    import multiprocessing

    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
        print(sum(pool.map(squares, range(12))))
