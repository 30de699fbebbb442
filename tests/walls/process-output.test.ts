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
