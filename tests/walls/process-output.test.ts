import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { Mayfly } from '../../src/index.ts'
import { inTime, until } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { isMissing, unable } from './process-stands.ts'

/** Output of any length passes through; unread output is not buffered (back-pressure). */
const MiB = 2 ** 20
const outputMiB = process.env['MAYFLY_LONG'] ? 1024 : 64
/** Maximum growth of the server for each output of any length that is streamed. */
const growthMiBMax = 64

const folder = mkdtempSync(join(tmpdir(), 'mayfly-output-'))
/** Invalid frames, written by Python. */
const unreadable = [
  ['a frame of four gigabytes', String.raw`b"\xff\xff\xff\xff\x0e"`],
  ['an empty frame', String.raw`b"\x00\x00\x00\x00\x00"`],
  ['a frame of an unknown kind', String.raw`b"\x02\x00\x00\x00\x63x"`],
] as const
const leftName = 'left-behind'

function namedBelow(name: string): readonly number[] {
  return descendantsOf(process.pid).filter((pid) => commOf(pid) === name)
}

function commOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return ''
  }
}

let library: Mayfly
before(async () => {
  library = await Mayfly.open({
    state: join(folder, 'state'),
    ceilings: { output: '2GB', timeout: '10m' },
  })
})
after(async () => {
  await library.close()
  rmSync(folder, { recursive: true, force: true })
})

// Both sides wait for most of the time, because the output is paced.
suite('Output', { skip: unable('python') }, () => {
  suite('streamed at any length', { concurrency: true }, () => {
    /** Outputs that share this process. */
    let streamed = 0
    for (const jailKind of jailKinds)
      test(`S4-58: ${jailKind}: ${outputMiB} MiB of output are streamed with flat memory, the first bytes before the end`, async (t) => {
        if (isMissing(t, { jailKind })) return
        const code = `
import sys
block = b"x" * 65535 + b"\\n"
for _ in range(${outputMiB * 16}): sys.stdout.buffer.write(block)`
        let bytes = 0
        let first = 0
        let most = 0
        streamed++
        const before = process.memoryUsage.rss()
        const tap = async (_: string, text: string) => {
          first ||= performance.now()
          bytes += text.length
          most = Math.max(most, process.memoryUsage.rss())
          // The reader is sometimes slow: the program blocks, and nothing is buffered.
          if (bytes % (4 * MiB) < text.length) await sleep(5)
        }
        const limits = { output: `${outputMiB + 1}MB`, timeout: '300s' }
        const outcome = await library.run(
          { language: 'python', code, provider: jailKind, limits },
          { tap },
        )
        assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error))
        assert.equal(bytes, outputMiB * MiB)
        assert.ok(first < performance.now() - outcome.metrics.executionTime / 2)
        assert.ok(outcome.stdout.length <= MiB && outcome.truncated.stdout)
        const grown = Math.round((most - before) / MiB)
        t.diagnostic(`it grew by ${grown} MiB while ${outputMiB} MiB were streamed`)
        assert.ok(grown <= growthMiBMax * streamed, `it grew by ${grown} MiB`)
      })
  })

  suite('longer than its limit keeps its end, where the failure is', () => {
    const last = 'check 50000 FAILED: 2 != 3'
    /** Programs that print 50,000 lines, then a failure, then end with 1. */
    const programs = {
      python: `for n in range(50_000): print(f"check {n} passed, nothing to see")\nprint("${last}")\nraise SystemExit(1)`,
      node: `for (let n = 0; n < 50_000; n++) console.log(\`check \${n} passed, nothing to see\`)\nconsole.log('${last}')\nprocess.exitCode = 1`,
      sh: `seq -f 'check %.0f passed, nothing to see' 0 49999; echo '${last}'; exit 1`,
      js: `for (let n = 0; n < 50_000; n++) console.log(\`check \${n} passed, nothing to see\`)\nconsole.log('${last}')`,
    } as const
    const whole = `${Array.from({ length: 50_000 }, (_, n) => `check ${n} passed, nothing to see\n`).join('')}${last}\n`

    const assertKept = (stdout: string) => {
      const kept = /^(check 0 [^]*\n)… (\d+) bytes left out …\n(check [^]*)$/.exec(stdout)
      assert.ok(kept, `${stdout.slice(0, 60)} … ${stdout.slice(-60)}`)
      const [, head = '', leftOut, tail = ''] = kept
      assert.ok(whole.startsWith(head) && whole.endsWith(tail) && tail.endsWith(`${last}\n`))
      assert.equal(head.length + Number(leftOut) + tail.length, whole.length)
      assert.ok(Buffer.byteLength(stdout) <= MiB)
      return Number(leftOut)
    }

    const walls = [...jailKinds, 'gvisor', 'isolated-vm']
    for (const [language, code] of Object.entries(programs))
      for (const provider of walls.filter((one) => (one === 'isolated-vm') === (language === 'js')))
        test(`${language} behind ${provider}, as text, live and as an artifact`, async (t) => {
          const jailKind = jailKinds.find((kind) => kind === provider)
          if (jailKind && isMissing(t, { jailKind })) return
          let heard = ''
          const outcome = await library.run(
            {
              language: language as keyof typeof programs,
              code,
              provider,
              artifacts: 'inline',
              limits: { timeout: '300s' },
            },
            { tap: (stream, text) => void (heard += stream === 'stdout' ? text : '') },
          )
          if (outcome.status === 'unavailable') return t.skip(outcome.error?.message)
          const leftOut = assertKept(outcome.stdout)
          assert.equal(heard, outcome.stdout)
          assert.deepEqual(outcome.truncated, { stdout: true, stderr: false })
          assert.deepEqual(outcome.outputLeftOut, { stdout: leftOut })
          const artifact = outcome.artifacts.find(({ path }) => path === 'stdout.txt')
          assert.ok(Buffer.from(artifact!.content!, 'base64').toString() === whole)
        })

    test('in a cell and in a command of a session', async () => {
      await using box = await library.open({ language: 'python' })
      assertKept((await box.run({ code: programs.python })).stdout)
      const command = await box.run({ command: ['sh', '-c', programs.sh] })
      assertKept(command.stdout)
      assert.equal(command.exitCode, 1)
    })

    test('and counts a progress bar by its last state', async () => {
      const code = `import sys\nfor n in range(2001): sys.stderr.write(f"\\r{n:5} of 2000 [{'#' * (n // 25):80}]")\nsys.stderr.write("\\n")\nraise SystemExit("failed at last")`
      const { stderr, truncated } = await library.run({
        language: 'python',
        code,
        limits: { output: '64KB' },
      })
      assert.match(stderr, /^ 2000 of 2000 \[#{80}\]\nfailed at last\n$/)
      assert.equal(truncated.stderr, false)
    })
  })

  for (const jailKind of jailKinds)
    for (const [what, bytes] of unreadable)
      test(`${jailKind}: ${what} ends a job as an error PROTOCOL, and leaves no process`, async (t) => {
        if (isMissing(t, { jailKind })) return
        const code = `
import ctypes, os, time
if os.fork() == 0:
    ctypes.CDLL(None).prctl(15, b"${leftName}")
    print("there", flush=True)
    while True: time.sleep(1)
time.sleep(0.5)
for fd in range(3, 64):
    try: os.write(fd, ${bytes})
    except OSError: pass
time.sleep(60)`
        let isThere = false
        const tap = (_: string, text: string) => void (isThere ||= text.includes('there'))
        const job = {
          language: 'python',
          code,
          provider: jailKind,
          limits: { timeout: '60s' },
        } as const
        const { status, error } = await library.run(job, { tap })
        assert.deepEqual([status, error?.code, isThere], ['error', 'PROTOCOL', true])
        await until(() => namedBelow(leftName).length === 0, 'the end of its processes')
      })

  for (const jailKind of jailKinds)
    test(`${jailKind}: a program that execs another ends with its exit status`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const code = `
import os
os.execv("/bin/sh", ["sh", "-c", "sleep 1; echo replaced; exit 3"])`
      const job = {
        language: 'python',
        code,
        provider: jailKind,
        limits: { timeout: '60s' },
      } as const
      const { status, error, exitCode, stdout } = await library.run(job)
      assert.deepEqual([status, error?.code, exitCode, stdout], ['error', 'EXIT', 3, 'replaced\n'])
    })

  for (const jailKind of jailKinds)
    test(`S4-58: ${jailKind}: unread output does not pile up, and its job can be cancelled`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const cancel = new AbortController()
      let heard = 0
      const tap = (_: string, text: string) => {
        heard += text.length
        return new Promise<void>(() => undefined)
      }
      const before = process.memoryUsage.rss()
      const code = 'while True: print("x" * 10000)'
      const limits = { output: '1GB', timeout: '60s' }
      const end = library.run(
        { language: 'python', code, provider: jailKind, limits },
        { tap, signal: cancel.signal },
      )
      await until(() => heard > 0, 'the first output')
      await sleep(1000)
      assert.ok(heard <= MiB, `${heard} bytes arrived although the reader does not read`)
      assert.ok(process.memoryUsage.rss() - before < growthMiBMax * MiB)
      cancel.abort()
      const { status } = await inTime(end, 'the cancelled end')
      assert.equal(status, 'cancelled')
    })

  for (const jailKind of jailKinds)
    for (const [language, code] of [
      ['python', 'print("hello")'],
      ['sh', 'echo hello'],
    ] as const)
      test(`${jailKind}: a program in ${language} that has ended is no timeout, although nobody reads its output`, async (t) => {
        if (isMissing(t, { jailKind })) return
        const job = { language, code, provider: jailKind, limits: { timeout: '2s' } } as const
        let toldAt = Infinity
        const tap = () => {
          toldAt = performance.now()
          return new Promise<void>(() => undefined)
        }
        const outcome = await library.run(job, { tap })
        assert.deepEqual([outcome.status, outcome.stdout], ['ok', 'hello\n'])
        assert.ok(performance.now() - toldAt > 2_000, 'its time limit did not pass')
      })

  for (const jailKind of jailKinds)
    test(`${jailKind}: an uncaught error is printed completely, although the end frame is sent before`, async (t) => {
      if (isMissing(t, { jailKind })) return
      const sources = [
        `require('./missing-package')`,
        `Promise.reject(Object.assign(new Error('late'), { code: 'MODULE_NOT_FOUND' }))`,
      ]
      for (const code of [...sources, ...sources, ...sources]) {
        const { status, stderr } = await library.run({ language: 'node', code, provider: jailKind })
        assert.equal(status, 'error')
        assert.match(stderr, /code: 'MODULE_NOT_FOUND'[^]*Node\.js v/)
      }
    })

  test('A program that reports its exit and keeps running ends with that report, not at its timeout', async () => {
    const head = { protocol: 1, encoding: 'json', status: 'error', exits: true, cpuTimeMs: 0 }
    const error = { code: 'EXIT', message: 'gone' }
    const end = `${JSON.stringify({ ...head, executionMs: 0, error })}\nnull`
    const code = `
      const payload = Buffer.from(${JSON.stringify(end)})
      const frame = Buffer.alloc(5)
      frame.writeUInt32LE(payload.length + 1)
      frame[4] = 14
      require('node:fs').writeSync(5, Buffer.concat([frame, payload]))
      setInterval(() => console.log('still here'), 10)`
    const limits = { timeout: '30s' }
    const { status, error: told } = await library.run({ language: 'node', code, limits })
    assert.deepEqual([status, told?.message], ['error', 'gone'])
  })

  test('A program that writes releases without end to its control socket ends at the first as an error PROTOCOL', async () => {
    const code = `
      const frames = Buffer.alloc(65_535)
      for (let at = 0; at < frames.length; at += 5) frames.set([1, 0, 0, 0, 10], at)
      for (;;) require('node:fs').writeSync(5, frames)`
    const limits = { timeout: '10s' }
    const { status, error } = await library.run({ language: 'node', code, limits })
    assert.deepEqual([status, error?.code], ['error', 'PROTOCOL'])
  })
})
