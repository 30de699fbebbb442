import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Mayfly, type Box } from '../../src/index.ts'
import type { RunRequest } from '../../src/contract/session.ts'
import { isRunscThere, noRunsc } from '../conformance/gvisor.ts'
import { test } from '../fixtures/drawn.ts'
import { copyMachineState, machineState } from '../fixtures/machine-images.ts'
import { unable } from './process-stands.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'

const images = await machineState()
const noImages = 'missing' in images ? images.missing : undefined
const noUserKernels = isUserKernelThere() ? noImages : noUserKernel

/** Sessions in Python on every wall that can hold one: state, limits, and what hostile cells leave behind. */
const walls = [
  {
    provider: 'bubblewrap',
    skip: () => unable('python') || (!existsSync('/usr/bin/bwrap') && 'bwrap is missing'),
  },
  { provider: 'embedded', skip: () => unable('python') },
  { provider: 'gvisor', skip: () => unable('python') || (!isRunscThere() && noRunsc) },
  { provider: 'user-mode-linux', skip: () => noUserKernels ?? false },
]
const hasOwnKernel = (provider: string) => provider === 'user-mode-linux'
/** Cell that tries to start thirty programs, and ends them; its value is the number that started. */
const started = `import subprocess
programs = []
try:
    for _ in range(30): programs.append(subprocess.Popen(["sleep", "100"]))
except OSError: pass
for program in programs: program.kill(); program.wait()
len(programs)`
/** Generous deadline, because nothing is measured and a busy machine is slow. */
const unhurried = { timeout: '60s' }

let state: string
let mayfly: Mayfly
before(async () => {
  state = mkdtempSync(join(tmpdir(), 'mayfly-sessions-'))
  if (isUserKernelThere()) await copyMachineState(state)
  mayfly = await Mayfly.open({ state })
})
after(async () => {
  await mayfly.close()
  for (const own of [state, `${state}-warden`]) rmSync(own, { recursive: true, force: true })
})

for (const { provider, skip } of walls)
  suite(`A session in Python behind ${provider}`, { skip: skip() }, () => {
    const open = (limits = {}) =>
      mayfly.open({ language: 'python', provider, limits: { ...unhurried, ...limits } })
    /** Result of a cell that must succeed. */
    async function value(box: Box, code: string, more: Partial<RunRequest> = {}): Promise<unknown> {
      const outcome = await box.run({ code, ...more })
      assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error) + outcome.stderr)
      return outcome.result
    }

    test('variables, imports, files and background processes persist between execs', async () => {
      await using box = await open()
      await value(box, 'import math, subprocess\nx = 20')
      assert.equal(await value(box, 'x += 1\nx'), 21)
      assert.equal(await value(box, 'math.floor(math.pi)'), 3)
      await value(box, 'def twice(n):\n  return n * 2\nopen("kept.txt", "w").write("kept")')
      assert.deepEqual(await value(box, '[twice(x), open("kept.txt").read()]'), [42, 'kept'])
      await value(box, 'background = subprocess.Popen(["sleep", "100"])')
      assert.equal(await value(box, 'background.poll()'), null)
      assert.equal(await value(box, 'import asyncio\nawait asyncio.sleep(0)\nx'), 21)
      assert.equal(await value(box, 'input["n"] + x', { input: { n: 1 } }), 22)
      const given = { env: { OWN: 'own' }, stdin: 'typed' }
      const read = 'import os, sys\n[os.environ.get("OWN"), sys.stdin.read()]'
      assert.deepEqual(await value(box, read, given), ['own', 'typed'])
      assert.deepEqual(await value(box, read), [null, ''])
    })

    test('a cell without an input finds an empty one, also after an earlier cell changed it', async () => {
      await using box = await open()
      const read = 'import os, sys\n[sys.stdin.read(), os.read(0, 9).decode()]'
      await value(box, 'open("in.txt", "w").write("planted")')
      for (const change of [
        'os.dup2(os.open("in.txt", os.O_RDONLY), 0)',
        'os.close(0)',
        'sys.stdin.close()',
        'import io\nsys.stdin = io.StringIO("planted")',
        'sys.stdin.buffer.close()',
        'sys.stdin.detach()',
      ]) {
        await value(box, `import os, sys\n${change}\nNone`)
        assert.deepEqual(await value(box, read), ['', ''], change)
        assert.deepEqual(await value(box, read), ['', ''], `${change}, once more`)
      }
    })

    test('each exec has its own output, error, artifacts and outcome', async () => {
      await using box = await open()
      const first = await box.run({ code: 'print("one")\nopen("a.txt", "w").write("a")' })
      assert.deepEqual(
        [first.stdout, first.artifacts.map(({ path }) => path)],
        ['one\n', ['a.txt']],
      )
      const second = await box.run({ code: 'print("two")\n1 / 0' })
      assert.deepEqual([second.status, second.stdout, second.artifacts], ['error', 'two\n', []])
      assert.equal(second.error?.name, 'ZeroDivisionError')
      assert.match(second.stderr, /File "cell-2\.py", line 2/)
      const third = await box.run({ code: 'def f(:' })
      assert.equal(third.error?.code, 'SYNTAX_ERROR')
      for (const code of ['x = 1\n!pip install x', '%matplotlib inline', 'rows?'])
        assert.match(
          (await box.run({ code })).error?.message ?? '',
          /invalid syntax.*(notebook syntax|command of a shell)/,
        )
      const ids = new Set([first, second, third].map(({ id }) => id))
      const lines = new Set([first, second, third].map(({ evidence }) => evidence.audit))
      assert.deepEqual([ids.size, lines.size], [3, 3])
      for (const { session } of [first, second, third])
        assert.deepEqual([session?.id, session?.state], [box.id, 'kept'])
    })

    test('an exec is interrupted at its timeout: state persists if the kernel answers, otherwise it is lost', async () => {
      await using box = await open()
      await value(box, 'x = 5')
      const limits = { timeout: '300ms' }
      const spun = await box.run({ code: 'while True: pass', limits })
      assert.deepEqual([spun.status, spun.session?.state], ['timeout', 'kept'])
      assert.doesNotMatch(spun.stderr, /mayfly/)
      assert.equal(await value(box, 'x'), 5)
      const busy = await box.run({ code: 'while True: pass', limits: { cpuTime: '100ms' } })
      const ended = [busy.status, busy.error?.code, busy.session?.state]
      assert.deepEqual(ended, ['limit', 'CPU', 'kept'])
      const made = await box.run({ code: 'b = bytearray(20_000_000); del b' })
      assert.ok((made.metrics.memoryUsage?.peak ?? 0) > 15_000_000, 'its peak is known')
      const deaf = 'import time\nwhile True:\n  try: time.sleep(9)\n  except BaseException: pass'
      const lost = await box.run({ code: deaf, limits })
      assert.deepEqual([lost.status, lost.session?.state], ['timeout', 'lost'])
      assert.equal(await value(box, '"x" in globals()'), false)
    })

    test('the death of an interpreter is the error of its exec, and the next exec gets a new one', async () => {
      await using box = await open()
      await value(box, 'x = 1\nopen("kept.txt", "w").close()')
      const raised = await box.run({ code: 'raise SystemExit(3)' })
      assert.deepEqual(
        [raised.status, raised.exitCode, raised.session?.state],
        ['error', 3, 'kept'],
      )
      const ended = await box.run({ code: 'import os\nos._exit(4)' })
      assert.deepEqual([ended.status, ended.exitCode, ended.session?.state], ['error', 4, 'lost'])
      const state = await value(box, 'import os\n["x" in globals(), os.path.exists("kept.txt")]')
      assert.deepEqual(state, [false, true], 'files persist, variables do not')
      const between =
        'import os, signal, threading\nthreading.Timer(0.1, os.kill, (os.getpid(), 9)).start()'
      await value(box, between)
      for (let tries = 0; tries < 100; tries++) {
        const next = await box.run({ code: '1' })
        if (next.session?.state === 'lost') return
        await sleep(50)
      }
      assert.fail('the death of an interpreter between two execs is reported with no exec')
    })

    test('a command runs beside the interpreter, in its folder', async () => {
      await using box = await open()
      await value(box, 'open("here.txt", "w").write("x = 1")')
      const ran = await box.run({ command: ['sh', '-c', 'cat here.txt; exit 7'] })
      assert.deepEqual([ran.status, ran.exitCode, ran.stdout], ['error', 7, 'x = 1'])
      const line = await box.run({ command: 'echo $((20 + 1))' })
      assert.deepEqual([line.status, line.stdout, line.session?.state], ['ok', '21\n', 'kept'])
      const late = await box.run({ command: 'sleep 60', limits: { timeout: '300ms' } })
      assert.deepEqual([late.status, late.session?.state], ['timeout', 'kept'])
      const none = await box.run({ command: ['no-such-program'] })
      assert.deepEqual([none.status, none.exitCode], ['error', 127])
    })

    test('files are put, read and listed, only regular files below the working folder', async () => {
      await using box = await open()
      await box.files.put('data/rows.csv', 'a,b\n')
      assert.equal(await value(box, 'open("data/rows.csv").read()'), 'a,b\n')
      await value(box, 'import os\nos.symlink("/etc/passwd", "link")\nos.mkfifo("pipe")')
      assert.equal(Buffer.from(await box.files.get('data/rows.csv')).toString(), 'a,b\n')
      const types = (await box.files.list()).map(({ path, type }) => `${path} ${type}`)
      for (const one of ['data folder', 'data/rows.csv file', 'link link', 'pipe other'])
        assert.ok(types.includes(one), `${one}: ${types.join(', ')}`)
      for (const path of ['link', 'pipe', 'data', '../etc/passwd', '/etc/passwd'])
        await assert.rejects(box.files.get(path), { code: 'INVALID' }, path)
      await assert.rejects(box.files.get('none'), { code: 'NOT_FOUND' })
      await value(box, 'import os\nos.link("data/rows.csv", "twin")')
      await box.files.put('data/rows.csv', 'new')
      assert.equal(await value(box, 'open("twin").read()'), 'a,b\n', 'a put replaces the name')
    })

    test('a file or an input that is too large is refused, and the session continues', async () => {
      await using box = await open()
      await value(box, 'x = 1')
      const large = Buffer.alloc(96 * 2 ** 20)
      await assert.rejects(box.files.put('large', large), { code: 'TOO_LARGE' })
      const input = 'x'.repeat(33 * 2 ** 20)
      await assert.rejects(box.run({ code: 'x', input }), { code: 'TOO_LARGE' })
      await assert.rejects(box.files.get('large'), { code: 'NOT_FOUND' })
      // Without an input, `input` is the function of Python.
      assert.deepEqual(await value(box, '[x, callable(input)]'), [1, true])
    })

    test('a path, a content and a signal of a wrong kind are refused, and the session continues', async () => {
      await using box = await open()
      await using terminal = await box.pty({ command: 'cat' })
      const invalid = { code: 'INVALID' }
      for (const path of [5, null, {}, 'x'.repeat(5000)] as string[]) {
        await assert.rejects(box.files.get(path), invalid)
        await assert.rejects(box.files.put(path, 'a'), invalid)
        await assert.rejects(box.files.list(path), invalid)
      }
      for (const content of [
        5,
        null,
        {},
        [1],
        new ArrayBuffer(1),
        new Float64Array(1),
      ] as never[]) {
        await assert.rejects(box.files.put('a', content), invalid)
        await assert.rejects(terminal.write(content), invalid)
      }
      for (const signal of ['SIGNOPE', 9, null] as never[])
        assert.throws(() => terminal.kill(signal), invalid)
      assert.equal(await value(box, '1'), 1)
    })

    test('a second concurrent exec is BUSY; after its end a session is SESSION_ENDED', async () => {
      const box = await open()
      const long = box.run({ code: 'import time\nsum(range(20_000_000))\ntime.sleep(1)\n1' })
      await assert.rejects(box.run({ code: '1' }), { code: 'BUSY' })
      assert.equal((await long).result, 1)
      const life = await box.close()
      assert.deepEqual([life.status, life.id], ['ok', box.id])
      assert.ok(life.metrics.cpuTime > 0)
      await assert.rejects(box.run({ code: '1' }), { code: 'SESSION_ENDED' })
      await assert.rejects(box.files.list(), { code: 'SESSION_ENDED' })
    })

    test('a cancelled exec is interrupted, and an exec of a closed session reports that', async () => {
      const box = await open()
      await value(box, 'x = 5')
      const given = new AbortController()
      const started = Promise.withResolvers<void>()
      const long = 'print("began", flush=True)\nimport time\ntime.sleep(60)'
      const tap = () => started.resolve()
      const cancelled = box.run({ code: long }, { signal: given.signal, tap })
      await started.promise
      given.abort()
      const outcome = await cancelled
      assert.deepEqual([outcome.status, outcome.session?.state], ['cancelled', 'kept'])
      assert.equal(await value(box, 'x'), 5)
      const again = Promise.withResolvers<void>()
      const under = box.run({ code: long }, { tap: () => again.resolve() })
      await again.promise
      const life = await box.close()
      const cut = await under
      assert.deepEqual(
        [cut.status, cut.error?.code, cut.session?.ended],
        ['terminated', 'SESSION_ENDED', true],
      )
      assert.equal(life.status, 'ok')
    })

    test('an exec that is cancelled in a session whose manager is stopped ends as cancelled, with the session', async () => {
      // The cancellation may come before the stop: its interrupt is then ignored.
      const code =
        'import os, signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint("began", flush=True)\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)'
      for (let tries = 1; tries <= 5; tries++) {
        const box = await open()
        const given = new AbortController()
        const tap = () => given.abort()
        const { status, session } = await box.run({ code }, { signal: given.signal, tap })
        assert.equal(status, 'cancelled')
        const life = await box.close()
        if (session?.ended) return assert.equal(life.status, 'cancelled')
        // On a busy machine the manager ended the exec, after a second, before that could stop it.
      }
      assert.fail('no exec stopped its manager')
    })

    test('an exec whose session ends before it starts is terminated, and names that session', async () => {
      const box = await open()
      await value(box, '1')
      const late = box.run({ code: 'print("ran")' })
      const life = box.close()
      const { status, error, session, stdout } = await late
      assert.deepEqual(
        [status, error?.code, session, stdout],
        ['terminated', 'SESSION_ENDED', { id: box.id, state: 'lost', ended: true }, ''],
      )
      await assert.rejects(box.run({ code: '1' }), { code: 'SESSION_ENDED' })
      assert.equal((await life).status, 'ok')
    })

    test('files that cannot be placed fail the opening, and affect no other session', async () => {
      const junk = [{ path: 'a.whl', content: 'not a zip file' }]
      await assert.rejects(
        mayfly.open({ language: 'python', provider, files: junk, limits: unhurried }),
        {
          message: /zip/,
        },
      )
      await using box = await open()
      assert.equal(await value(box, '1'), 1)
    })

    test('an input stays until the next one, and a pipe in its place blocks no cell', async () => {
      await using box = await open()
      assert.equal(await value(box, 'input', { input: 5 }), 5)
      assert.equal(await value(box, 'input'), 5)
      const pipe = 'import os\nos.mkfifo(os.path.join(os.environ["TMPDIR"], ".mayfly-input"))'
      await value(box, pipe)
      assert.equal(await value(box, 'input', { input: 6 }), 6)
    })

    test('a listing omits names and times that its answer cannot represent, and the session continues', async () => {
      await using box = await open()
      const deep =
        'import os\nos.makedirs("/".join("d" * 200 for _ in range(8)))\nos.utime("out", (2**40, 2**40))'
      await value(box, deep)
      const wide = 'for n in range(1200): open(f"{n:04}" + "w" * 200, "w").close()'
      await value(box, wide)
      const entries = await box.files.list()
      assert.ok(entries.length > 100 && entries.length < 1200, `${entries.length}`)
      assert.equal(await value(box, '1'), 1)
    })

    test('output of background work is kept for the next exec, apart from its own', async () => {
      await using box = await open()
      const later =
        'import threading, time\ndef late():\n  time.sleep(1)\n  print("background", flush=True)'
      const began = await box.run({
        code: `${later}\nworker = threading.Thread(target=late)\nworker.start()`,
      })
      assert.equal(began.stdout, '')
      await sleep(3000)
      const next = await box.run({ code: 'worker.join()\nprint("own")' })
      assert.deepEqual([next.stdout, next.session?.between?.stdout], ['own\n', 'background\n'])
      assert.equal((await box.run({ code: '1' })).session?.between, undefined)
    })

    test(
      'a file beyond its memory ends the session, with an error that names the limit',
      { skip: hasOwnKernel(provider) && 'its kernel ends a process of the session' },
      async () => {
        const box = await open({ memory: '64MB' })
        await value(box, 'kept = b"x" * (40 << 20)\nlen(kept)')
        await assert.rejects(box.files.put('large', new Uint8Array(32 * 2 ** 20)), {
          code: 'SESSION_ENDED',
          message: 'Cannot use the session: MEMORY ended it',
          hint: /limits\.memory/,
        })
        assert.equal((await box.ended).error?.code, 'MEMORY')
      },
    )

    test('memory over its limit ends the session, and a flood of output the exec', async () => {
      const box = await open({ memory: '64MB' })
      const flood = 'while True: print("x" * 100_000)'
      const flooded = await box.run({ code: flood, limits: { output: '64KB' } })
      assert.deepEqual([flooded.status, flooded.error?.code], ['limit', 'OUTPUT'])
      assert.equal(await value(box, '1'), 1)
      const hungry = await box.run({ code: 'hog = bytearray(500_000_000)\nlen(hog)' })
      if (hungry.session?.ended) assert.equal(hungry.error?.code, 'MEMORY')
      else assert.equal(hungry.error?.name, 'MemoryError', hungry.error?.message ?? '')
      const life = await box.close()
      assert.ok(['ok', 'limit'].includes(life.status), life.status)
    })

    test('cells leave no descriptor open in their interpreter', async () => {
      await using box = await open()
      const count = 'import os\nlen(os.listdir("/proc/self/fd"))'
      const before = await value(box, count, { input: 1 })
      for (let n = 0; n < 5; n++) await value(box, 'print("one")', { input: n })
      assert.equal(await value(box, count, { input: 2 }), before)
    })

    test('withdrawn rights stay withdrawn in every later exec, and wider rights are refused', async () => {
      // A guest with a kernel of its own may take its scratch and an allowance for its kernel beside.
      const [size, memory] = hasOwnKernel(provider) ? [600, undefined] : [150, '256MB']
      const limits = { ...(memory && { memory }) }
      const holds = `kept = bytearray(b"x") * (${size} * 2 ** 20)`
      // Between the limits before and after: another session may hold as much.
      await using other = await open(limits)
      if (memory) assert.equal(await value(other, `${holds}\nlen(kept) // 2 ** 20`), size)
      await using box = await open(limits)
      // A program in gVisor is several tasks of the host, so fewer fit, and their number is not documented.
      const isCounted = provider !== 'gvisor'
      if (isCounted) assert.equal(await value(box, started), 30)
      const { held, controls } = await box.tighten({ memory: '96MB', processes: 20 })
      assert.deepEqual([held, controls.memory, controls.processes], [true, 96 * 2 ** 20, 20])
      await assert.rejects(box.tighten({ memory: '1GB' }), { code: 'CONFLICT' })
      for (const _later of isCounted ? ['one', 'another'] : []) {
        const count = Number(await value(box, started))
        // The interpreter itself has four more threads.
        assert.ok(count > 0 && count < 24, `${count} programs were started`)
      }
      assert.equal(await value(box, 'len(bytearray(16 * 2 ** 20))'), 16 * 2 ** 20)
      // Kept until it is seen: a watch alone misses what is given back between two looks.
      const hungry = `import time\n${holds}\nwhile True: time.sleep(0.1)`
      const { status, error } = await box.run({ code: hungry })
      assert.ok(['limit', 'error'].includes(status), `${status} ${error?.message}`)
    })

    test('memory that was freed before a tightening does not end the session, and the end names the limit in force', async (t) => {
      if (hasOwnKernel(provider)) return t.skip('its kernel keeps what was freed for files')
      const box = await open({ memory: '256MB' })
      assert.equal(
        await value(box, 'kept = bytearray(b"x") * (150 * 2 ** 20)\nlen(kept) >> 20'),
        150,
      )
      await sleep(300)
      await value(box, 'del kept')
      assert.equal((await box.tighten({ memory: '96MB' })).held, true)
      await sleep(300)
      assert.equal(await value(box, 'len(bytearray(16 * 2 ** 20)) >> 20'), 16)
      const hungry =
        'import time\nhog = bytearray(b"x") * (200 * 2 ** 20)\nwhile True: time.sleep(0.1)'
      const { error } = await box.run({ code: hungry })
      assert.equal(error?.code, 'MEMORY')
      assert.match(error?.message ?? '', /than 96 MB \(tightened from 256 MB while it ran\)/)
      await box.close()
    })

    test('hostile cells cannot forge the results of the next cell', async () => {
      await using box = await open()
      for (const code of hostile) await box.run({ code, limits: { timeout: '3s' } })
      const next = await box.run({ code: 'import builtins\nbuiltins.sum([20, 1])' })
      assert.deepEqual([next.status, next.result], ['ok', 21], JSON.stringify(next.error))
      assert.equal(next.session?.ended, false)
    })
  })

/** State from exec to exec in the other languages: a value, an import, a file, background work, an error, an interrupt. */
const languages = {
  node: {
    keep: 'import os from "node:os"\nconst x = 20\nlet beats = 0\nsetInterval(() => beats++, 20)\nrequire("fs").writeFileSync("kept.txt", "kept")',
    read: '[x + 1, typeof os.cpus, await new Promise((done) => setTimeout(() => done(beats > 0), 200)), require("fs").readFileSync("kept.txt", "utf8")]',
    value: [21, 'function', true, 'kept'],
    wrong: 'null.f',
    name: 'TypeError',
    spin: 'for (;;);',
    alive: 'x',
    aliveIs: 20,
    close: 'require("fs").closeSync(0)',
    given: 'console.log(process.env.OWN, require("fs").readFileSync(0, "utf8"))',
  },
  bash: {
    keep: 'x=20\ntwice() { echo $(($1 * 2)); }\nsleep 100 &\nbackground=$!\nmkdir deep\ncd deep\necho kept > kept.txt',
    read: 'kill -0 $background && ! grep -q ") Z " /proc/$background/stat && echo "[$((x + 1)), $(twice $x), \\"$(cat kept.txt)\\", \\"${PWD##*/}\\"]" > $MAYFLY_RESULT',
    value: [21, 40, 'kept', 'deep'],
    wrong: 'exit_of_none_such',
    name: undefined,
    spin: 'while :; do :; done',
    alive: 'echo $x > $MAYFLY_RESULT',
    aliveIs: 20,
    close: 'exec 0<&-',
    given: 'echo "$OWN $(cat)"',
  },
  sh: {
    keep: 'x=20\ntwice() { echo $(($1 * 2)); }\nsleep 100 &\nbackground=$!\nmkdir deep\ncd deep\necho kept > kept.txt',
    read: 'kill -0 $background && ! grep -q ") Z " /proc/$background/stat && echo "[$((x + 1)), $(twice $x), \\"$(cat kept.txt)\\", \\"${PWD##*/}\\"]" > $MAYFLY_RESULT',
    value: [21, 40, 'kept', 'deep'],
    wrong: 'exit_of_none_such',
    name: undefined,
    spin: 'while :; do :; done',
    alive: 'echo $x > $MAYFLY_RESULT',
    aliveIs: 20,
    close: 'exec 0<&-',
    given: 'echo "$OWN $(cat)"',
  },
} as const

for (const { provider, skip } of walls)
  suite(`Sessions in other languages behind ${provider}`, { skip: skip() }, () => {
    for (const [language, cells] of Object.entries(languages))
      test(
        `${language}: values, folders, files and background work persist, also after an error and an interrupt`,
        {
          skip: language === 'bash' && hasOwnKernel(provider) && 'its images have no bash',
        },
        async () => {
          await using box = await mayfly.open({
            language: language as keyof typeof languages,
            provider,
            limits: unhurried,
          })
          const kept = await box.run({ code: cells.keep })
          assert.equal(kept.status, 'ok', JSON.stringify(kept.error) + kept.stderr)
          const read = await box.run({ code: cells.read })
          assert.deepEqual(read.result, cells.value, JSON.stringify(read.error) + read.stderr)
          const wrong = await box.run({ code: cells.wrong })
          assert.deepEqual([wrong.status, wrong.error?.name], ['error', cells.name])
          const spun = await box.run({ code: cells.spin, limits: { timeout: '500ms' } })
          assert.deepEqual([spun.status, spun.session?.state], ['timeout', 'kept'])
          assert.equal((await box.run({ code: cells.alive })).result, cells.aliveIs)
          const given = { env: { OWN: 'own' }, stdin: 'typed' }
          const own = await box.run({ command: 'echo "$OWN $(cat)"', ...given })
          assert.equal(own.stdout, 'own typed\n', own.error?.message ?? '')
          const cell = await box.run({ code: cells.given, ...given })
          assert.equal(cell.stdout.trim(), 'own typed', JSON.stringify(cell.error) + cell.stderr)
          await box.run({ code: cells.close })
          const again = await box.run({ code: cells.given, ...given })
          assert.equal(again.stdout.trim(), 'own typed', JSON.stringify(again.error) + again.stderr)
          const after = await box.run({ command: 'echo "[$OWN$(cat)]"' })
          assert.equal(after.stdout, '[]\n', 'they are those of one exec')
          const command = await box.run({ command: 'echo beside; exit 3' })
          assert.deepEqual([command.stdout, command.exitCode], ['beside\n', 3])
          await box.files.put('put.txt', 'put')
          assert.ok((await box.files.list()).some(({ path }) => path === 'put.txt'))
          assert.equal((await box.close()).status, 'ok')
        },
      )
  })

/** Cells that keep running after their end, or prepare an attack on the next cell. */
const hostile = [
  // A forged end of every exec, on each fd of the kernel.
  `import os, struct, threading, time
forged = b'{"protocol":1,"id":"x","status":"ok","encoding":"json","cpuTimeMs":0,"executionMs":0,"state":"kept"}\\n"forged"'
frame = struct.pack('<IB', len(forged) + 1, 20) + forged
def forge():
    for _ in range(20):
        for fd in range(3, 20):
            try: os.write(fd, frame)
            except OSError: pass
        time.sleep(0.01)
threading.Thread(target=forge, daemon=True).start()`,
  'import sys, types\nsys.modules["json"] = types.ModuleType("json")\nsys.modules["linecache"] = None',
  'import builtins\nbuiltins.print = lambda *a, **k: None',
  'import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)',
  'import os, time\nif os.fork() == 0:\n    time.sleep(30)\n    os._exit(0)',
  'import signal\nfor n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM): signal.signal(n, signal.SIG_IGN)',
  'import os\nos.chdir("/tmp")',
  'import sys\nsys.setrecursionlimit(60)',
  'import gc, sys\nsys.excepthook = lambda *a: None\ngc.disable()',
  'globals().clear()',
]

test(
  'A session in Python runs if its first phase closes exec, and a session in Node is refused with the reason',
  { skip: unable('python') },
  async () => {
    const own = mkdtempSync(join(tmpdir(), 'mayfly-session-start-'))
    const syscalls = ['network', 'outside', 'process', 'write'] as const
    const phases = [{ name: 'shut', for: '1m' as const, syscalls: [...syscalls] }]
    try {
      await using opened = await Mayfly.open({ state: own, schedules: { shut: { phases } } })
      const asked = { schedule: 'shut', provider: 'embedded', limits: unhurried } as const
      const box = await opened.open({ ...asked, language: 'python' })
      assert.equal((await box.run({ code: '6 * 7' })).result, 42)
      const executes = 'import subprocess\nsubprocess.run(["/bin/true"])'
      const { error } = await box.run({ code: executes })
      assert.equal(error?.name, 'PermissionError')
      assert.equal((await box.close()).status, 'ok')
      const message =
        'Cannot open a session in "node": phase "shut" of schedule "shut" closes "exec", by which it starts'
      const refused = { code: 'UNAVAILABLE', message }
      await assert.rejects(opened.open({ ...asked, language: 'node' }), refused)
    } finally {
      for (const one of [own, `${own}-warden`]) rmSync(one, { recursive: true, force: true })
    }
  },
)
