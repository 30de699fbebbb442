import asyncio


async def slow(name, seconds):
    try:
        await asyncio.sleep(seconds)
        return f"{name} finished"
    except asyncio.CancelledError:
        print(f"{name} was cancelled, cleaning up")
        raise


async def main():
    # 1. wait_for
    try:
        await asyncio.wait_for(slow("download", 10), timeout=0.05)
    except asyncio.TimeoutError:
        print("download timed out")

    # 2. the timeout context manager (3.11)
    try:
        async with asyncio.timeout(0.05):
            await slow("upload", 10)
    except TimeoutError:
        print("upload timed out")

    # 3. first completed wins
    tasks = {asyncio.create_task(slow(n, s), name=n) for n, s in [("hare", 0.02), ("tortoise", 5)]}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for t in done:
        print("winner:", t.get_name(), "|", t.result())
    for t in pending:
        t.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    print("pending cancelled:", all(t.cancelled() for t in pending))

    # 4. shield
    inner = asyncio.create_task(slow("save", 0.1))
    try:
        await asyncio.wait_for(asyncio.shield(inner), 0.01)
    except asyncio.TimeoutError:
        print("gave up waiting, but", await inner)


asyncio.run(main())
