import asyncio


class Limiter:
    """At most `limit` tasks at a time, remembers the highest concurrency."""

    def __init__(self, limit: int):
        self._sem = asyncio.Semaphore(limit)
        self.running = 0
        self.peak = 0

    async def __aenter__(self):
        await self._sem.acquire()
        self.running += 1
        self.peak = max(self.peak, self.running)
        return self

    async def __aexit__(self, exc_type, exc, tb):
        self.running -= 1
        self._sem.release()
        return exc_type is ValueError  # swallow bad values only


async def job(limiter, n, results):
    async with limiter:
        await asyncio.sleep(0.01)
        if n % 7 == 0:
            raise ValueError(n)
        results[n] = n * n


async def main(limit=4, total=25):
    limiter = Limiter(limit)
    results: dict[int, int] = {}
    async with asyncio.TaskGroup() as tg:
        for n in range(1, total + 1):
            tg.create_task(job(limiter, n, results))
    print("finished", len(results), "of", total)
    print("peak concurrency", limiter.peak)
    print("missing", sorted(set(range(1, total + 1)) - results.keys()))


asyncio.run(main())
asyncio.run(main(limit=1, total=8))
