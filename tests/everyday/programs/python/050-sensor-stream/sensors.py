import asyncio
import math
from contextlib import asynccontextmanager
from typing import AsyncIterator


@asynccontextmanager
async def connect(name):
    print(f"[{name}] connecting")
    await asyncio.sleep(0)
    try:
        yield name
    finally:
        print(f"[{name}] disconnected")


async def readings(n) -> AsyncIterator[float]:
    for i in range(n):
        await asyncio.sleep(0)
        yield round(20 + 5 * math.sin(i / 2), 2)


async def moving_average(source: AsyncIterator[float], size: int):
    window: list[float] = []
    async for value in source:
        window.append(value)
        window = window[-size:]
        yield value, sum(window) / len(window)


async def main():
    async with connect("greenhouse"):
        async for raw, avg in moving_average(readings(12), 4):
            flag = " ⚠ high" if avg > 23 else ""
            print(f"{raw:6.2f} -> {avg:6.2f}{flag}")
    warm = [v async for v in readings(12) if v > 22]
    print("warm readings:", warm)

loop = asyncio.new_event_loop()
try:
    loop.run_until_complete(main())
finally:
    loop.close()
