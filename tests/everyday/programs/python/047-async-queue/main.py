import asyncio
import random


async def producer(queue: asyncio.Queue, n: int):
    for i in range(n):
        item = random.randint(1, 100)
        await queue.put((i, item))
        await asyncio.sleep(0)
    print(f"producer: {n} items queued")


async def consumer(name: str, queue: asyncio.Queue, out: list):
    while True:
        i, item = await queue.get()
        try:
            await asyncio.sleep(0.001)
            out.append((i, item ** 2))
        finally:
            queue.task_done()


async def main():
    random.seed(1234)
    queue: asyncio.Queue = asyncio.Queue(maxsize=5)
    out: list[tuple[int, int]] = []
    workers = [asyncio.create_task(consumer(f"worker-{i}", queue, out)) for i in range(3)]
    await producer(queue, 20)
    await queue.join()
    for w in workers:
        w.cancel()
    await asyncio.gather(*workers, return_exceptions=True)

    print("processed:", len(out))
    for i, sq in sorted(out)[:5]:
        print(f"  #{i}: {sq}")
    print("sum of squares:", sum(sq for _, sq in out))


if __name__ == "__main__":
    asyncio.run(main())
