import assert from 'node:assert/strict'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { GuestSession } from '../fixtures/guest-session.ts'
import { unable } from './process-stands.ts'

/** Time after which the kernel relies on the change times of folders. */
const settle = 'import os, time\ntime.sleep(0.2)'

suite('A session of Python without a wall', { skip: unable('python') }, () => {
  const open = () => GuestSession.open('python')

  test('Files are put, read and listed by a link to an inner folder, and by none that leads out', async () => {
    await using session = await open()
    const { work } = session
    const outside = mkdtempSync(join(tmpdir(), 'session-outside-'))
    try {
      writeFileSync(join(outside, 'secret'), 'secret')
      mkdirSync(join(work, 'inner'))
      symlinkSync('inner', join(work, 'way'))
      symlinkSync(outside, join(work, 'away'))
      symlinkSync('../away', join(work, 'inner', 'up'))
      const code = async (op: string, path: string) =>
        (await session.file({ op, path, bytesMax: 100 }, 'x')).error?.code
      for (const way of ['away', 'inner/up', 'way/up']) {
        assert.equal(await code('get', `${way}/secret`), 'INVALID', way)
        assert.equal(await code('put', `${way}/aim`), 'INVALID', way)
        assert.equal(await code('put', `${way}/new/aim`), 'INVALID', way)
        assert.equal(await code('list', way), 'INVALID', way)
      }
      for (const path of [join(outside, 'x'), 'a\0b', '\ud800', 'x'.repeat(300)]) {
        assert.equal(await code('put', path), 'INVALID', path)
        assert.equal(await code('put', 'next'), undefined, path)
      }
      assert.deepEqual(readdirSync(outside), ['secret'])
      assert.deepEqual(readdirSync(work).sort(), ['away', 'inner', 'next', 'out', 'way'])
      assert.equal(await code('put', 'way/new/a'), undefined)
      for (const path of ['inner/new/a', 'way/new/a'])
        assert.equal((await session.file({ op: 'get', path, bytesMax: 1 })).size, 1, path)
      // The link itself is no reason for a refusal.
      assert.equal(await code('list', 'way'), undefined)
      const { entries = [] } = await session.file({ op: 'list', path: 'way/new' })
      assert.deepEqual(
        entries.map(({ path }) => path),
        ['way/new/a'],
      )
    } finally {
      rmSync(outside, { recursive: true })
    }
  })

  test('A script that is put is executable, and a file that is put again keeps its mode', async () => {
    await using session = await open()
    const put = async (path: string, content: string) => {
      assert.equal((await session.file({ op: 'put', path }, content)).error, undefined)
      return statSync(join(session.work, path)).mode & 0o777
    }
    assert.equal(await put('run.sh', '#!/bin/sh\necho one\n'), 0o755)
    assert.equal(await put('plain.txt', 'a'), 0o644)
    chmodSync(join(session.work, 'plain.txt'), 0o750)
    assert.equal(await put('plain.txt', 'b'), 0o750)
    symlinkSync('run.sh', join(session.work, 'link'))
    assert.equal(await put('link', 'c'), 0o644)
  })

  test('Artifacts are files that a cell created or changed, also in old folders', async () => {
    await using session = await open()
    const artifacts = async (code: string) => (await session.exec(code)).artifacts
    const made = 'import os\nos.mkdir("deep")\nopen("old.txt", "w").write("old")'
    assert.deepEqual(await artifacts(made), ['old.txt'])
    await session.exec(settle)
    assert.deepEqual(await artifacts('1'), [])
    assert.deepEqual(await artifacts('open("old.txt", "r+").write("new")'), ['old.txt'])
    assert.deepEqual(await artifacts('1'), [])
    const hidden = `for place in ("deep", "."):
  before = os.stat(place)
  open(place + "/hidden.txt", "w").write("x")
  os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))`
    assert.deepEqual(await artifacts(hidden), ['deep/hidden.txt', 'hidden.txt'])
    await session.exec(settle)
    assert.deepEqual(await artifacts('os.rename("old.txt", "deep/moved.txt")'), ['deep/moved.txt'])
    await session.exec(settle)
    await session.exec('1')
    await session.file({ op: 'put', path: 'given.txt' }, 'given')
    assert.deepEqual(await artifacts('1'), [])
    assert.deepEqual(await artifacts('open("out/kept.txt", "w").write("x")'), ['kept.txt'])
    await session.exec(settle)
    assert.deepEqual(await artifacts('1'), [])
    assert.deepEqual(await artifacts('open("out/kept.txt", "w").write("new")'), ['kept.txt'])
  })

  test('A file of out/ uses the limit of the exec that wrote it alone', async () => {
    await using session = await open()
    for (const name of ['a', 'b', 'c']) {
      const code = `open("out/${name}", "wb").write(bytes(600_000))`
      const end = await session.exec(code)
      assert.deepEqual([end.artifacts, end.artifactsLeftOut], [[name], []])
    }
  })

  test('Files of a cell are detected even if cells follow each other within one clock tick', async () => {
    await using session = await open()
    // A clock with ticks of 50 ms: those of kernels have 1 to 10 ms, or none.
    const coarse = `import gc
own = next(one for one in gc.get_objects() if type(one) is dict and "SETTLED_NS" in one)
facts_of = own["_facts_of_folder"]
def coarse(stat):
  facts = facts_of(stat)
  return facts and (*facts[:2], facts[2] - facts[2] % 50_000_000)
own["_facts_of_folder"] = coarse`
    assert.equal((await session.exec(coarse)).status, 'ok')
    for (let n = 0; n < 40; n++) {
      const { artifacts } = await session.exec(`open("${n}.txt", "w").write("x")`)
      assert.deepEqual(artifacts, [`${n}.txt`])
    }
  })

  test('No cell gets the result of another cell, or of a program that an earlier cell left running', async () => {
    await using session = await open()
    const text = async (code: string) => {
      const end = await session.exec(code)
      assert.equal(end.status, 'ok', end.stderr)
      return end.text
    }
    const left = `import os, subprocess, threading, time
os.mkfifo("go")
forge = "read line < go; echo '666' >&3; touch wrote"
child = subprocess.Popen(forge, shell=True, pass_fds=[3])`
    assert.equal(await text(left), 'null')
    const let_it =
      'open("go", "w").write("\\n")\nwhile not os.path.exists("wrote"): time.sleep(0.01)'
    assert.equal(await text(`${let_it}\n7`), '7')
    assert.equal(await text('8'), '8')
    for (const way of ['os.write(3, b"666")', 'open(path, "w").write("666")', 'os.unlink(path)']) {
      const late = `path = os.environ["MAYFLY_RESULT"]
def late():
  ${way}
  open("late", "w").close()
threading.Timer(0.05, late).start()`
      await text(late)
      let names: readonly unknown[] = []
      while (!names.includes('late')) {
        const { entries = [] } = await session.file({ op: 'list', path: '.' })
        names = entries.map((entry) => entry.path)
      }
      assert.equal(await text('9'), '9', way)
      assert.equal(await text('os.unlink("late")\nos.write(3, b"11")\nNone'), '11', way)
    }
    for (const change of [
      'os.close(3)',
      'os.dup2(os.open("wrote", os.O_RDWR), 3)',
      'os.unlink(path)',
      'os.unlink(path)\nos.mkfifo(path)',
      'os.unlink(path)\nos.symlink("/etc/passwd", path)',
      'os.unlink(path)\nos.mkdir(path)',
      'os.chmod(path, 0)',
    ]) {
      await session.exec(`path = os.environ["MAYFLY_RESULT"]\n${change}`)
      assert.equal(await text('10'), '10', change)
      assert.equal(await text('os.write(3, b"11")\nNone'), '11', change)
      assert.equal(await text('open(os.environ["MAYFLY_RESULT"], "w").write("12")'), '12', change)
    }
  })

  test('A cell of one expression has the same value, errors and warnings as any other cell', async () => {
    await using session = await open()
    await session.exec('import asyncio\nx = 1\nclass Own(int): pass')
    for (const [code, text] of Object.entries({
      '20 + 1': '21',
      'x == 1 # text': 'true',
      '"a" "b"': '"ab"',
      '"""a"""': '"a"',
      '"""a\nb"""': 'null',
      '1;2': '2',
      '(y := 4)': '4',
      'y\n': '4',
      '# text': 'null',
      'await asyncio.sleep(0, 5)': '5',
      _: '5',
      None: 'null',
      True: 'true',
      '-(2 ** 53) + 1': '-9007199254740991',
      '2 ** 53': '{"$type":"BigInt","value":"9007199254740992"}',
      '"\\ud800"': '"\\ud800"',
      'Own(3)': '3',
      '1.0': '1',
    }))
      assert.equal((await session.exec(code)).text, text, code)
    const indented = await session.exec(' 1')
    assert.equal(indented.error?.code, 'SYNTAX_ERROR')
    const failed = await session.exec('1 / 0')
    assert.match(failed.stderr, /^Traceback.*\n  File "cell-\d+\.py", line 1, in <module>\n/)
    assert.doesNotMatch(failed.stderr, /mayfly/)
    await session.exec('import warnings\nwarnings.simplefilter("always")')
    for (const code of ['print("\\d"); 5', 'print("\\d")', '1 is 1', '{1 is 1}; 5']) {
      const { stderr } = await session.exec(code)
      assert.equal(stderr.split(/Syntax|Deprecation/).length, 2, code + stderr)
    }
    const long = await session.exec({ code: '"a" * 50', resultBytesMax: 20 })
    assert.notEqual(long.text, `"${'a'.repeat(50)}"`)
  })

  test('Data that is too large for a result is its text, which says that it is cut', async () => {
    await using session = await open()
    for (const [code, partial] of [
      ['list(range(100_000))', true],
      ['"x" * 200_000', true],
      ['[object] * 10_000', true],
      ['object', undefined],
      ['"x"', undefined],
    ] as const) {
      const end = await session.exec(code)
      assert.deepEqual([end.status, end.partial], ['ok', partial], code)
    }
  })

  test('Messages that arrive in parts or together are each handled once and in order', async () => {
    await using session = await open()
    const bytes = Buffer.alloc(3 * 2 ** 20, 'x')
    const [put, end, got] = await Promise.all([
      session.file({ op: 'put', path: 'large.bin' }, bytes),
      session.exec('import os\nos.path.getsize("large.bin")'),
      session.file({ op: 'get', path: 'large.bin', bytesMax: 2 ** 22 }),
    ])
    assert.deepEqual(
      [put.size, end.text, got.size],
      [bytes.length, `${bytes.length}`, bytes.length],
    )
    const many = 'for n in range(8): open(f"{n}.bin", "w").write("x" * 2 ** 20)'
    const { artifacts } = await session.exec({ code: many, artifactBytesMax: 2 ** 24 })
    assert.equal(artifacts.length, 8)
    const long = `x = "${'y'.repeat(200_000)}"\nlen(x)`
    assert.equal((await session.exec(long)).text, '200000')
  })
})
