import asyncio
import sys

SNIPPETS = {
    "ok": "print(sum(range(10)))",
    "stdin": "import sys; print(sys.stdin.read().upper(), end='')",
    "fail": "import sys; sys.exit('something went wrong')",
}


async def run_python(name, code, data=None):
    proc = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await proc.communicate(data)
    return name, proc.returncode, out.decode().strip(), err.decode().strip()


async def run_shell(cmd):
    proc = await asyncio.create_subprocess_shell(cmd, stdout=asyncio.subprocess.PIPE)
    lines = []
    async for line in proc.stdout:
        lines.append(line.decode().strip())
    return await proc.wait(), lines


async def main():
    results = await asyncio.gather(*(run_python(n, c, b"hello pipes") for n, c in SNIPPETS.items()))
    for name, code, out, err in results:
        print(f"{name:6} exit={code} out={out!r} err={err!r}")
    code, lines = await run_shell("printf 'b\\na\\nc\\n' | sort")
    print(code, lines)


if __name__ == "__main__":
    asyncio.run(main())
