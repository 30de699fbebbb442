import asyncio


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        text = line.decode().rstrip()
        if text == "quit":
            break
        reply = text[::-1].upper() if text.startswith("rev:") else f"echo {text}"
        writer.write(f"{reply}\n".encode())
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def client(port: int, lines: list[str]) -> list[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    for line in lines:
        writer.write(line.encode() + b"\n")
        await writer.drain()
        answers.append((await reader.readline()).decode().strip())
    writer.write(b"quit\n")
    await writer.drain()
    assert await reader.read() == b""
    writer.close()
    return answers


async def main() -> None:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        sets = [["hello", "world"], ["rev:abc"], ["ünïcödé 🙂", "bye"]]
        replies = await asyncio.gather(*(client(port, s) for s in sets))
    for i, r in enumerate(replies, 1):
        print(f"client {i}: {r}")


if __name__ == "__main__":
    asyncio.run(main())
