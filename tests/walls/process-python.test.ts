import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { isMissing, stands, unable } from './process-stands.ts'
import { inProcess, type ProcessJob } from './process-wall.ts'

const python = (job: ProcessJob) => inProcess({ program: 'python' }, { language: 'python', ...job })
const value = async (job: ProcessJob) => {
  const end = await python(job)
  assert.equal(end.head.status, 'ok', JSON.stringify(end.head) + end.stderr)
  return end.value
}

/** A wheel of one pure module: a zip file with one uncompressed entry. */
const wheel =
  'UEsDBBQAAAAAAAAAIQABt/xkBwAAAAcAAAAJAAAAd2hlZWx5LnB5biA9IDEwMFBLAQIUAxQAAAAAAAAAIQABt/xkBwAAAAcAAAAJAAAAAAAAAAAAAACAAQAAAAB3aGVlbHkucHlQSwUGAAAAAAEAAQA3AAAALgAAAAAA'

suite('A job of language "python" in a process wall', { skip: unable('python') }, () => {
  for (const { title, wish } of stands)
    test(`${title}: main is called with its input`, async (t) => {
      if (isMissing(t, wish)) return
      const { head, value, stdout, stderr } = await inProcess(
        { program: 'python', ...wish },
        { language: 'python', code: 'def main(n):\n  print("hi")\n  return n * 2', input: 21 },
      )
      assert.deepEqual([head.status, value, stdout, stderr], ['ok', 42, 'hi\n', ''])
    })

  test('main, an async main, the variable result, a handler and a program give the result', async () => {
    const main = 'import asyncio\nasync def main(n):\n  await asyncio.sleep(0)\n  return n + 1'
    assert.equal(await value({ code: main, input: 1 }), 2)
    assert.deepEqual(await value({ code: 'result = [input, 1]', input: 'a' }), ['a', 1])
    assert.equal(await value({ code: 'if True:\n  result = 1\nelse:\n  result = 2' }), 1)
    const handler =
      'def handler(event, context):\n  return [event, context.get_remaining_time_in_millis() > 0]'
    assert.deepEqual(await value({ code: handler, entry: 'handler', input: 1 }), [1, true])
    const named = 'def lambda_handler(event, context):\n  return event'
    assert.deepEqual(await value({ code: named, entry: 'handler', input: 1 }), 1)
    const program = `
import json, os, sys
if __name__ == "__main__":
    given = json.load(sys.stdin)
    os.write(3, json.dumps([given, __file__, os.getcwd(), sys.argv]).encode())`
    const file = '/work/job.py'
    assert.deepEqual(await value({ code: program, input: 5 }), [5, file, '/work', [file]])
    const both = 'def main(n):\n  return n\nif __name__ == "__main__":\n  raise SystemExit(3)'
    assert.equal((await python({ code: both, input: 4 })).head.exitCode, 3)
    assert.equal(await value({ code: both, input: 4, entry: 'main' }), 4)
  })

  test('modules, packages and wheels of the job are found', async () => {
    const files = [
      { path: 'half.py', content: 'def half(n): return n / 2' },
      { path: 'pack/__init__.py', content: 'n = 7' },
      { path: 'wheels/wheely-1.0-py3-none-any.whl', content: wheel, encoding: 'base64' as const },
    ]
    const code = 'import half, pack, wheely\nresult = [half.half(4), pack.n, wheely.n]'
    assert.deepEqual(await value({ code, files }), [2, 7, 100])
  })

  test('files of a job do not run before its release, under any module name', async () => {
    const names = (await value({
      code: 'import sys\nresult = sorted(sys.stdlib_module_names)',
    })) as readonly string[]
    assert.ok(names.includes('zipfile') && names.includes('traceback'))
    const files = [
      ...names.map((name) => ({ path: `${name}.py`, content: `print("${name} ran")` })),
      { path: 'wheely-1.0-py3-none-any.whl', content: wheel, encoding: 'base64' as const },
    ]
    for (const code of ['result = 1', 'def main(n):\n  return n', 'def :', 'é\0']) {
      const { head, stdout } = await python({ code, files })
      assert.deepEqual([stdout, head.status], ['', /[=n]/.test(code) ? 'ok' : 'error'], code)
    }
    const late = await python({ code: 'import this\nresult = 1', files })
    assert.deepEqual([late.stdout, late.head.status], ['this ran\n', 'ok'])
  })

  test('threads, children, pools, sqlite, hashes, TLS and sockets of its own network work', async () => {
    const code = `
import asyncio, concurrent.futures, hashlib, multiprocessing, os, socket, sqlite3, ssl, subprocess, tempfile, threading, zlib

def square(n):
    return n * n

async def both():
    process = await asyncio.create_subprocess_exec("echo", "async", stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode().strip()

def main(_):
    said = []
    thread = threading.Thread(target=lambda: said.append("thread"))
    thread.start(); thread.join()
    with multiprocessing.Pool(2) as pool:
        squares = pool.map(square, [1, 2, 3])
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        spawned = pool.submit(square, 5).result()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        threads = list(pool.map(square, [4]))
    base = sqlite3.connect("/work/base.db")
    base.execute("create table t (n)"); base.execute("insert into t values (9)"); base.commit()
    [(row,)] = base.execute("select n from t").fetchall()
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    other, _ = server.accept()
    other.sendall(b"sent"); heard = client.recv(4).decode()
    with tempfile.NamedTemporaryFile() as file:
        temporary = file.name.startswith("/tmp/")
    ssl.create_default_context()
    return [said, squares, spawned, threads, row, heard, temporary,
        subprocess.run(["sh", "-c", "echo sub"], capture_output=True, text=True).stdout.strip(),
        asyncio.run(both()), hashlib.sha256(b"").hexdigest()[:8], zlib.decompress(zlib.compress(b"z")).decode(),
        socket.getaddrinfo("localhost", 80)[0][4][0] in ("127.0.0.1", "::1"), socket.gethostname(), os.cpu_count() > 0]`
    const first = [['thread'], [1, 4, 9], 25, [16], 9, 'sent', true, 'sub', 'async', 'e3b0c442']
    assert.deepEqual(await value({ code }), first.concat('z', true, 'mayfly', true))
  })

  test('results that plain JSON would lose are tagged, and values that are not data are refused', async () => {
    const code = `
import datetime, math
def main(_):
    return {"at": datetime.datetime(2001, 2, 3, 4, 5, 6, 7000), "big": 2**60, "bytes": b"hi", "set": {math.nan}, "map": {1: -0.0}}`
    const { head, value: tagged } = await python({ code })
    assert.equal(head.encoding, 'tagged')
    assert.deepEqual(tagged, {
      at: { $type: 'Date', value: '2001-02-03T04:05:06.007Z' },
      big: { $type: 'BigInt', value: '1152921504606846976' },
      bytes: { $type: 'bytes', value: 'aGk=' },
      set: { $type: 'Set', value: [{ $type: 'number', value: 'NaN' }] },
      map: { $type: 'Map', value: [[1, { $type: 'number', value: '-0' }]] },
    })
    assert.deepEqual(await value({ code: 'result = {"$type": "x", "s": {"a"}}' }), {
      $type: 'object',
      value: [
        ['$type', 'x'],
        ['s', { $type: 'Set', value: ['a'] }],
      ],
    })
    assert.deepEqual(await value({ code: 'result = {"__proto__": {1}}' }), {
      $type: 'object',
      value: [['__proto__', { $type: 'Set', value: [1] }]],
    })
    const codeOf = async (code: string) => {
      const body = code.replaceAll('\n', '\n  ')
      const handler = `def handler(event, context):\n  ${body}\n  return result`
      const ends = await python({ code: handler, entry: 'handler', resultBytesMax: 1000 })
      const asProgram = await python({ code, resultBytesMax: 1000 })
      const refusal = ends.head.error?.code
      if (refusal === 'RESULT_TOO_LARGE') assert.equal(asProgram.head.error?.code, refusal)
      else if (refusal !== undefined)
        assert.deepEqual([asProgram.head.status, asProgram.head.encoding], ['ok', 'text'])
      return refusal
    }
    assert.equal(await codeOf('result = []\nresult.append(result)'), 'RESULT_CIRCULAR')
    const nested = (levels: number) =>
      `result = []\nfor _ in range(${levels}):\n  result = [result]`
    assert.equal(await codeOf(nested(600)), 'RESULT_TOO_DEEP')
    assert.equal(await codeOf(nested(400)), undefined)
    assert.equal(await codeOf('result = object()'), 'RESULT_NOT_SERIALISABLE')
    assert.equal(await codeOf('result = "x" * 2000'), 'RESULT_TOO_LARGE')
    const written = await python({ code: 'import os\nos.write(3, b"no json")' })
    assert.equal(written.head.error?.code, 'RESULT_NOT_JSON')
  })

  test('A missing date is a date with null, and a value whose class breaks is lost alone', async () => {
    const code = `
import datetime
class Missing(datetime.datetime):
  def __ne__(self, other): return True
  def astimezone(self, zone): raise ValueError
class Broken(int):
  def __int__(self): raise ValueError
  def __repr__(self): raise ValueError
  def _repr_html_(self): raise ValueError`
    const missing = { $type: 'Date', value: null }
    assert.deepEqual(await value({ code: `${code}\nMissing(2000, 1, 1)` }), missing)
    assert.deepEqual(await value({ code: `${code}\n[{"d": Missing(2000, 1, 1)}, 1]` }), [
      { d: missing },
      1,
    ])
    const told = '[1, <Broken: its repr raised ValueError>]'
    assert.equal(await value({ code: `${code}\n[1, Broken(2)]` }), told)
  })

  test('errors have their position in the source', async () => {
    const { head, stderr } = await python({ code: 'def main(_):\n  raise ValueError("no")' })
    assert.deepEqual([head.error?.name, head.error?.message], ['ValueError', 'no'])
    assert.equal(stderr, head.error?.stack)
    assert.match(head.error?.stack ?? '', /File "job\.py", line 2, in main\n {4}raise ValueError/)
    assert.doesNotMatch(head.error?.stack ?? '', /mayfly/)
    const syntax = await python({ code: 'x = 1\ny = (' })
    assert.equal(syntax.head.error?.code, 'SYNTAX_ERROR')
    assert.match(syntax.head.error?.stack ?? '', /File "job\.py", line 2/)
    const program = await python({ code: 'print("out")\n1 / 0' })
    assert.deepEqual(
      [program.head.exitCode, program.head.error?.name, program.stdout],
      [1, 'ZeroDivisionError', 'out\n'],
    )
    assert.match(program.stderr, /^Traceback[^]*job\.py", line 2[^]*ZeroDivisionError/)
    assert.doesNotMatch(program.stderr, /mayfly/)
  })

  test('exit codes, exit handlers and threads that keep running are handled', async () => {
    const exit = await python({ code: 'import sys\nprint("out")\nsys.exit(3)' })
    assert.deepEqual([exit.head.exitCode, exit.head.error?.code, exit.stdout], [3, 'EXIT', 'out\n'])
    const told = await python({ code: 'raise SystemExit("why")' })
    assert.deepEqual([told.head.exitCode, told.stderr], [1, 'why\n'])
    const late = await python({
      code: 'import atexit, threading, time\natexit.register(print, "last")\nthreading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()',
    })
    assert.deepEqual([late.head.status, late.stdout], ['ok', 'thread\nlast\n'])
    await assert.rejects(python({ code: 'import os\nos._exit(6)' }), /ended with 6/)
    const child = await python({
      code: 'import os\nif os.fork() == 0:\n  raise SystemExit(9)\nos.wait()',
    })
    assert.equal(child.head.status, 'ok')
  })
})
