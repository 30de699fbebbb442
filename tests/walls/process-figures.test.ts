import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { jailKinds, type JailKind } from '../../src/contract/jail-kind.ts'
import { Mayfly, type JobRequest, type Outcome, type RunOptions } from '../../src/index.ts'
import { processFacts } from '../../src/os/proc.ts'
import { kind } from '../../src/walls/wire.ts'
import { descendantsOf, isRunning } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { isMissing, unable } from './process-stands.ts'

/** Compares the metrics of an outcome with measurements taken from outside the wall. */
const MiB = 2 ** 20
/** Tolerance, as a share of the configured CPU limit. */
const withinShare = 0.1
const sameShare = 0.05
const tries = 8
/** Runs jobs in sequence, until one of them gets a spare. */
const [jobsMin, jobsMax] = [4, 12]
/** Jobs at once, more than any pool of this library has spares. */
const beyondSpares = 8
const TICK_MS = 10
const nobody = 65_534
/** Milliseconds from the outcome to the end of the last process of its wall's program. */
const goneMsMax = 100

const folder = mkdtempSync(join(tmpdir(), 'mayfly-figures-'))
/** Folder that every user of this machine may read, so that only a wall closes it; below /tmp, which TMPDIR may not be. */
const readable = mkdtempSync('/tmp/mayfly-readable-')
const secret = join(readable, 'secret')
let library: Mayfly
before(async () => {
  chmodSync(readable, 0o755)
  writeFileSync(secret, 'of this machine', { mode: 0o644 })
  library = await Mayfly.open({ state: join(folder, 'state') })
})
after(async () => {
  await library.close()
  for (const one of [folder, readable]) rmSync(one, { recursive: true, force: true })
})

function run(
  jailKind: JailKind,
  request: Partial<JobRequest>,
  options: RunOptions = {},
): Promise<Outcome> {
  const asked = { language: 'python', code: '', provider: jailKind, ...request } as const
  return library.run(asked, options)
}

async function valueOf(
  jailKind: JailKind,
  code: string,
  more: Partial<JobRequest> = {},
): Promise<unknown> {
  const { status, result, error, stderr } = await run(jailKind, { code, ...more })
  assert.equal(status, 'ok', `${JSON.stringify(error)} ${stderr}`)
  return result
}

/** Burns CPU for some seconds of wall-clock time, and returns the share of a core that the kernel accounted. */
const burns = (seconds: number) => `
import time
began, before = time.monotonic(), time.process_time()
while time.monotonic() - began < ${seconds}: pass
result = (time.process_time() - before) / (time.monotonic() - began)`

for (const jailKind of jailKinds)
  suite(`Figures of "${jailKind}"`, { skip: unable('python') }, () => {
    test('S1-10: a busy loop gets its configured share of a core, within 10%', async (t) => {
      if (isMissing(t, { jailKind })) return
      const seen: { readonly share: number; readonly idle: number }[] = []
      // A busy machine gives less than the limit at times, and never more.
      for (let n = 0; n < tries / 2 && !seen.some(({ share }) => isNear(share)); n++) {
        const limits = { cpu: 0.2, timeout: '20s' }
        const [began, before] = [performance.now(), idleMs()]
        const share = (await valueOf(jailKind, burns(3), { limits })) as number
        seen.push({ share, idle: (idleMs() - before) / (performance.now() - began) })
      }
      const text = seen.map(({ share, idle }) => `${share.toFixed(3)} (${idle.toFixed(1)} idle)`)
      t.diagnostic(`0.2 of a core came to ${text.join(', ')}`)
      assert.ok(
        seen.every(({ share }) => share <= 0.2 * (1 + withinShare)),
        'it got more',
      )
      // A small CPU weight is scheduled last: if the machine had idle time, the job must have reached its limit.
      const left = seen.filter(({ idle }) => idle > 0.5)
      assert.ok(
        left.length === 0 || seen.some(({ share }) => isNear(share)),
        'it never reached its share',
      )
    })

    test('S4-21: times and memory match measurements from outside', async (t) => {
      if (isMissing(t, { jailKind })) return
      const code = `
import ctypes, time
ctypes.CDLL(None).prctl(15, b"figures")
print("begin", flush=True)
held = bytearray(100 * 2**20)
for at in range(0, len(held), 4096): held[at] = 1
before = time.process_time()
while time.process_time() - before < 1: pass
print("middle", flush=True)
time.sleep(2)
print("end", flush=True)`
      await near(async () => {
        const seen = { began: 0, ended: 0, cpuMs: 0, bytes: 0 }
        const tap = (_: string, text: string) => {
          if (text.includes('begin')) seen.began = performance.now()
          if (text.includes('end')) seen.ended = performance.now()
          if (text.includes('middle')) {
            const pid = named('figures')
            seen.cpuMs = (processFacts(pid)?.cpuTicks ?? 0) * TICK_MS
            seen.bytes = pssOf(pid)
          }
        }
        const limits = { memory: '256MB', timeout: '20s' }
        const { status, metrics } = await run(jailKind, { code, limits }, { tap })
        assert.equal(status, 'ok')
        const between = seen.ended - seen.began
        t.diagnostic(JSON.stringify({ ...seen, between, ...metrics }))
        const { peak } = metrics.memoryUsage!
        assert.ok(peak <= seen.bytes)
        return [
          ['its time', metrics.executionTime, between, sameShare],
          // The program was started before its job: CPU time used until then is not charged to the job.
          ['its CPU time', metrics.cpuTime, seen.cpuMs, 0.15],
          ['its memory', peak, 100 * MiB, sameShare],
        ]
      })
    })

    test('S1-19: a program and its children are gone within 100 ms of the outcome, in one of eight tries', async (t) => {
      if (isMissing(t, { jailKind })) return
      const mark = `ends-${process.pid % 100_000}`
      const code = `
import ctypes, os, time
ctypes.CDLL(None).prctl(15, b"${mark}")
if os.fork() == 0: time.sleep(60)
print("begin", flush=True)
time.sleep(0.3)
result = 1`
      const took: number[] = []
      const named = () => descendantsOf(process.pid).filter((pid) => nameOf(pid) === mark)
      while (took.length < tries && !took.some((ms) => ms <= goneMsMax)) {
        let there: readonly number[] = []
        const tap = (_: string, text: string) => {
          if (text.includes('begin')) there = named()
        }
        const { status } = await run(jailKind, { code }, { tap })
        const answered = performance.now()
        assert.deepEqual([status, there.length], ['ok', 2])
        await until(() => !there.some(isRunning), 'its processes to be gone')
        took.push(performance.now() - answered)
      }
      t.diagnostic(took.map((ms) => ms.toFixed(1)).join())
      assert.ok(took.at(-1)! <= goneMsMax, `${took.join()} ms`)
    })

    test('S4-21: CPU time of children is charged to the program', async (t) => {
      if (isMissing(t, { jailKind })) return
      const burn = 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done'
      await near(async () => {
        const shell = await run(jailKind, {
          language: 'sh',
          code: `${burn}; (${burn}); times >&2; exit 0`,
          limits: { timeout: '20s' },
        })
        assert.equal(shell.status, 'ok')
        const [, own = '', children = ''] = /^(\S+ \S+)\n(\S+ \S+)/.exec(shell.stderr) ?? []
        const [ownMs, childMs] = [own, children].map((times) => secondsIn(times) * 1000)
        assert.ok(ownMs! > 100 && childMs! > 100, shell.stderr)
        return [['its CPU time', shell.metrics.cpuTime, ownMs! + childMs!, 0.2]]
      })
    })

    test('S4-21: a job ended by its deadline reports its CPU time, too', async (t) => {
      if (isMissing(t, { jailKind })) return
      const { status, metrics, stdout } = await run(jailKind, {
        code: `
import time
while True:
    before = time.process_time()
    while time.process_time() - before < 0.05: pass
    print(time.process_time(), flush=True)`,
        limits: { timeout: '1500ms' },
      })
      assert.equal(status, 'timeout')
      const [first = 0, ...later] = stdout.trim().split('\n').map(Number)
      assert.ok(later.length > 0, `it printed "${stdout}"`)
      // Except CPU time before the first line and after the last.
      const seenMs = ((later.at(-1) ?? 0) - first) * 1000
      // A clock tick of /proc, before and after.
      assert.ok(metrics.cpuTime + 20 >= seenMs, `${metrics.cpuTime} of ${seenMs} ms`)
      assert.ok(metrics.cpuTime <= metrics.executionTime + 100, `${metrics.cpuTime} ms`)
    })

    test('S4-21: a program that kills itself or calls _exit reports its CPU time', async (t) => {
      if (isMissing(t, { jailKind })) return
      for (const last of ['os.kill(os.getpid(), 9)', 'os._exit(3)']) {
        const code = `
import os, time
while time.process_time() < 0.6: pass
${last}`
        const limits = { timeout: '50s' }
        const { status, metrics } = await run(jailKind, { code, entry: 'program', limits })
        assert.equal(status, 'error')
        assert.ok(metrics.cpuTime >= 250, `${last}: ${metrics.cpuTime} ms`)
      }
    })

    test('S4-21: a program that claims no usage is reported with its measured usage, also if it is gone before that is read', async (t) => {
      if (isMissing(t, { jailKind })) return
      for (const last of ['time.sleep(60)', 'os._exit(0)', 'os.kill(-1, 9)']) {
        const { status, metrics } = await run(jailKind, {
          code: `
import json, os, struct, time
before = time.process_time()
while time.process_time() - before < 0.3: pass
head = json.dumps({"protocol": 1, "status": "ok", "encoding": "json", "cpuTimeMs": 0, "executionMs": 0, "artifactsLeftOut": []})
payload = (head + "\\nnull").encode()
os.write(5, struct.pack("<IB", 1 + len(payload), ${kind.end}) + payload)
${last}`,
          limits: { timeout: '50s' },
        })
        assert.equal(status, 'ok', last)
        // Without a cgroup /proc counts in ticks of 10 ms, and the last sample of a wall that is gone is some older.
        const least = last === 'time.sleep(60)' ? 280 : 200
        assert.ok(metrics.cpuTime >= least, `${last}: ${metrics.cpuTime} ms`)
        assert.ok(metrics.executionTime >= 280, `${last}: ${metrics.executionTime} ms`)
      }
    })

    test('S4-21: a program too short to be sampled is charged what it used, whether it claims none or ends by a garbled frame', async (t) => {
      if (isMissing(t, { jailKind })) return
      const claim =
        '{"protocol": 1, "status": "ok", "encoding": "json", "cpuTimeMs": 0, "executionMs": 0, "artifactsLeftOut": []}'
      const last = {
        ok: `os.write(5, struct.pack("<IB", ${claim.length + 6}, ${kind.end}) + b'${claim}\\nnull')`,
        error: 'os.write(5, b"\\x05\\0\\0\\0\\xffabcd")',
      }
      const isBusy = 'while time.process_time() - before < 0.06: pass'
      for (const [expected, frame] of Object.entries(last))
        for (const body of [isBusy, 'time.sleep(0.06)']) {
          const { status, metrics, error } = await run(jailKind, {
            code: `
import os, struct, time
before = time.process_time()
${body}
${frame}
time.sleep(60)`,
            limits: { timeout: '50s' },
          })
          assert.equal(status, expected, JSON.stringify(error))
          // Without a cgroup /proc counts in ticks of 10 ms.
          const [least, most] = body === isBusy ? [40, Infinity] : [0, 40]
          const { cpuTime } = metrics
          assert.ok(cpuTime >= least && cpuTime <= most, `${expected}, ${body}: ${cpuTime} ms`)
        }
    })

    test('a limit of processes above the hard limit of this machine holds no job up', async (t) => {
      if (isMissing(t, { jailKind })) return
      const { status, error } = await run(jailKind, {
        code: 'result = 1',
        limits: { processes: 100_000 },
      })
      assert.equal(status, 'ok', JSON.stringify(error))
    })

    test('a program that writes artifact frames itself cannot make the server buffer more than their limit', async (t) => {
      if (isMissing(t, { jailKind })) return
      const code = (each: number) => `
import json, os, struct, time
def leave(path, size):
    payload = json.dumps({"path": path, "size": size}).encode() + b"\\n" + bytes(size)
    data = struct.pack("<IB", 1 + len(payload), ${kind.artifact}) + payload
    while data: data = data[os.write(5, data):]
leave("a", ${each})
leave("b", ${each})
time.sleep(60)`
      const limits = { artifacts: '1MiB', timeout: '5s' }
      const beyond = await run(jailKind, { code: code(MiB / 2 + 1), limits })
      assert.deepEqual(
        [beyond.status, beyond.error?.code, beyond.artifacts],
        ['error', 'ARTIFACTS_TOO_LARGE', []],
      )
      const within = await run(jailKind, { code: code(MiB / 2), limits })
      assert.equal(within.status, 'timeout')
      const honest = `open("a", "wb").write(bytes(${MiB / 2})); open("b", "wb").write(bytes(${MiB / 2}))`
      const { status, artifacts } = await run(jailKind, { code: honest, limits })
      assert.deepEqual([status, artifacts.length], ['ok', 2])
    })

    test('S1-12: writes are refused outside of the scratch, which is no larger than configured', async (t) => {
      if (isMissing(t, { jailKind })) return
      const code = `
import errno, os
def tried(path, flags):
    try:
        os.close(os.open(path, flags, 0o600)); return "written"
    except OSError as error: return errno.errorcode[error.errno]
folders = ["/", "/usr", "/usr/bin", "/usr/lib", "/bin", "/lib", "/sbin", "/etc", "/dev", "/opt", "/opt/mayfly", "/opt/mayfly/guest", "/proc", "/proc/sys"]
files = ["/etc/passwd", "/etc/hosts", "/usr/bin/env", "/opt/mayfly/bin/node", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"]
refused = {p: tried(p + "/made", os.O_CREAT | os.O_WRONLY) for p in folders if os.path.exists(p)}
refused.update({p: tried(p, os.O_WRONLY) for p in files if os.path.exists(p)})
scratch = {p: tried(p + "/made", os.O_CREAT | os.O_WRONLY) for p in ["/work", "/tmp", "/dev/shm"]}
taken = 0
for p in ["/work/big", "/tmp/big", "/dev/shm/big"]:
    try:
        with open(p, "wb", 0) as f:
            while True: taken += f.write(b"x" * 65536)
    except OSError as error: full = errno.errorcode[error.errno]
result = [refused, scratch, taken, full]`
      const limits = { disk: '8MB' }
      const [refused, scratch, taken, full] = (await valueOf(jailKind, code, { limits })) as [
        Record<string, string>,
        Record<string, string>,
        number,
        string,
      ]
      assert.ok(Object.keys(refused).length >= 12)
      for (const [place, answer] of Object.entries(refused))
        assert.match(answer, /^(EROFS|EACCES|ENOENT|EPERM|ETXTBSY)$/, place)
      assert.deepEqual(Object.values(scratch), ['written', 'written', 'written'])
      assert.ok(taken <= 8 * MiB && taken >= 6 * MiB, `${taken}`)
      assert.match(full, /^(ENOSPC|EFBIG)$/)
    })

    test('S4-9: no path leads to a file of this machine: not by "..", links, /proc or a file name of the job', async (t) => {
      if (isMissing(t, { jailKind })) return
      const code = `
import os
def main(secret):
    def read(path):
        try:
            with open(path) as f: return f.read()
        except OSError as error: return type(error).__name__
    os.symlink(secret, "link"); os.symlink("/", "root"); os.symlink("../" * 20, "up")
    try: os.link("/etc/passwd", "hard"); hard = "linked"
    except OSError: hard = "refused" if os.path.exists("/etc/passwd") else "missing"
    above = "../" * 20
    paths = [secret, above + secret[1:], "link", "root" + secret, "up" + secret] + [
        place + secret for place in ["/proc/self/root", "/proc/1/root", "/proc/self/cwd/" + above, "/proc/thread-self/root", "/dev/fd/0/..", "/proc/1/cwd/" + above]]
    for fd in range(64): paths.append(f"/proc/self/fd/{fd}{secret}")
    return [sorted(set(map(read, paths))), hard]`
      const [seen, hard] = (await valueOf(jailKind, code, { input: secret })) as [string[], string]
      const asAnother = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {}
      assert.equal(execFileSync('/bin/cat', [secret], asAnother).toString(), 'of this machine')
      for (const one of seen)
        assert.match(one, /^(FileNotFoundError|PermissionError|NotADirectoryError)$/)
      assert.equal(hard, 'refused')
      for (const path of ['../out', '/etc/passwd', 'a/../../b', 'a\0b', ''])
        await assert.rejects(
          async () => run(jailKind, { files: [{ path, content: '', encoding: 'utf8' }] }),
          { code: 'INVALID' },
        )
    })

    test('S4-55: a spare is used by the next job, only once, and replaced', async (t) => {
      if (isMissing(t, { jailKind })) return
      for (const [language, code] of [
        [
          'python',
          'import os\nresult = [os.listdir("/work"), os.listdir("/tmp")]\nfor at in ("/work", "/tmp"): open(at + "/mark", "w"); assert "mark" in os.listdir(at)',
        ],
        [
          'node',
          `import fs from 'node:fs'
export default () => { const seen = [fs.readdirSync('/work'), fs.readdirSync('/tmp')]; fs.writeFileSync('/work/mark', ''); fs.writeFileSync('/tmp/mark', ''); return seen }`,
        ],
      ] as const) {
        const pools: string[] = []
        // Under load it takes longer to make the next spare.
        const isTaken = () => pools.slice(1).includes('hit')
        for (let n = 0; n < jobsMin || (n < jobsMax && !isTaken()); n++) {
          const { status, metrics, result } = await run(jailKind, { language, code })
          assert.equal(status, 'ok')
          assert.equal((result as unknown[] | null)?.length, 2, language)
          assert.ok(!JSON.stringify(result).includes('mark'), 'the wall was used by an earlier job')
          pools.push(metrics.pool)
          await sleep(700)
        }
        assert.ok(isTaken(), `${language}: ${pools.join(' ')}`)
        const atOnce = await Promise.all(
          Array.from({ length: beyondSpares }, () => run(jailKind, { language, code })),
        )
        for (const { status, result } of atOnce)
          assert.ok(status === 'ok' && !JSON.stringify(result).includes('mark'), status)
        const later = atOnce.map(({ metrics }) => metrics.pool)
        assert.ok(later.includes('miss'), `${language}: ${later.join(' ')}`)
      }
    })
  })

/** Idle milliseconds of all CPUs of this machine since boot. */
function idleMs(): number {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/)
  return (Number(fields[4]) + Number(fields[5])) * TICK_MS
}

const isNear = (share: number) =>
  share >= 0.2 * (1 - withinShare) && share <= 0.2 * (1 + withinShare)

type Figure = readonly [name: string, said: number, seen: number, share: number]

/** Asserts that reported figures match measured ones; retries, because the machine may stall between the two. */
async function near(look: () => Promise<readonly Figure[]>): Promise<void> {
  const told: string[] = []
  for (let n = 0; n < tries; n++) {
    const figures = await look()
    const far = figures.filter(([, said, seen, share]) => Math.abs(said - seen) > seen * share)
    if (far.length === 0) return
    told.push(...far.map(([name, said, seen]) => `${name} is said to be ${said}, and is ${seen}`))
  }
  assert.fail(told.join('; '))
}

function named(name: string): number {
  const found = descendantsOf(process.pid).find((pid) => nameOf(pid) === name)
  assert.ok(found)
  return found
}

function nameOf(pid: number): string {
  return textOf(`/proc/${pid}/comm`).trim()
}

function pssOf(pid: number): number {
  return Number(/^Rss:\s+(\d+)/m.exec(textOf(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) * 1024
}

/** Sum of times such as `0m0.120000s`. */
function secondsIn(times: string): number {
  const all = [...times.matchAll(/(\d+)m([\d.]+)s/g)]
  return all.reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0)
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
