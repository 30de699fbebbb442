import asyncio


async def fetch(name: str, delay: float) -> dict:
    print(f"→ start {name}")
    await asyncio.sleep(delay)
    if name == "weather":
        raise ConnectionError("weather service unavailable")
    print(f"← done  {name}")
    return {"name": name, "length": len(name)}


async def main():
    jobs = [fetch("users", 0.15), fetch("orders", 0.05), fetch("weather", 0.10), fetch("news", 0.25)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    for r in results:
        if isinstance(r, Exception):
            print("failed:", type(r).__name__, r)
        else:
            print("ok:", r)
    print("total length:", sum(r["length"] for r in results if isinstance(r, dict)))


asyncio.run(main())
