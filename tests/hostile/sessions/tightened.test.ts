import assert from 'node:assert/strict'
import { existsSync, lstatSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Mayfly } from '../../../src/index.ts'
import { test } from '../../fixtures/drawn.ts'
import { unable } from '../../walls/process-stands.ts'

/**
 * Rights that are closed while calls are under way, witnessed from outside: this process looks at the files and processes of the wall
 * by /proc, and asks no program in it.
 */
const walls = ['bubblewrap', 'embedded'] as const
const onAnomaly = { low: 'record', medium: 'record', high: 'record' } as const
/** Tries of 50 ms until a change is seen: a busy machine is slow. */
const changeTriesMax = 200
/** Time in which the attackers make thousands of calls. */
const watchMs = 500

/** Nine processes with four threads each, in a loop of one call; files that are made are bounded by their names. */
const attackers = String.raw`
import os, threading, time
held = os.open('held', os.O_CREAT | os.O_RDWR)
def name(kind, i): return f'{kind}-{os.getpid()}-{threading.get_native_id()}-{i % 20}'
def fork(i):
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
def swap(i):
    os.symlink('x', name('s', 0)); os.unlink(name('s', 0))
acts = [
    lambda i: os.close(os.open(name('c', i), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)),
    lambda i: os.mkdir(name('d', i)) or os.rmdir(name('d', i)),
    lambda i: os.rename('held' if i % 2 else 'moved', 'moved' if i % 2 else 'held'),
    lambda i: os.ftruncate(held, i % 7000),
    lambda i: os.mkfifo(name('f', i)) or os.unlink(name('f', i)),
    lambda i: os.utime('.'),
    swap, fork, fork,
]
def spin(act):
    i = 0
    while True:
        i += 1
        try: act(i)
        except OSError: time.sleep(0.0005)
for act in acts:
    if os.fork() == 0:
        for _ in range(3): threading.Thread(target=spin, args=(act,), daemon=True).start()
        spin(act)`

for (const wall of walls)
  suite(`Rights closed under attack on ${wall}`, { skip: skipped(wall) }, () => {
    let state: string
    let mayfly: Mayfly
    before(async () => {
      state = mkdtempSync(join(tmpdir(), 'hostile-tightened-'))
      // A wall can close no class unless a phase of its schedule closes all.
      const phases = [
        { name: 'full', for: '9m' },
        { name: 'still', for: '1m', syscalls: [] },
      ]
      mayfly = await Mayfly.open({
        state,
        schedules: { default: { phases, on_anomaly: onAnomaly } },
      })
    })
    after(async () => {
      await mayfly.close()
      for (const own of [state, `${state}-warden`]) rmSync(own, { recursive: true, force: true })
    })

    test(`After a tightening of ${wall} is confirmed, no file changes and no process starts, by calls that were under way`, async () => {
      const limits = { timeout: '60s', processes: 64, memory: '256MB' } as const
      await using box = await mayfly.open({ language: 'python', provider: wall, limits })
      const { stdout } = await box.run({ command: 'readlink /proc/self/ns/pid; pwd' })
      const [namespace = '', folder = ''] = stdout.trim().split('\n')
      const look = () => lookInto(namespace, folder)
      const { status, stderr } = await box.run({ code: attackers })
      assert.equal(status, 'ok', stderr)
      await changes(look, 'files')
      await changes(look, 'pids')
      const { held } = await box.tighten({ syscalls: ['exec', 'network', 'outside'] })
      assert.ok(held, 'the wall did not confirm the tightening')
      const confirmed = look()
      assert.ok(confirmed.pids.size > 9, 'the attackers have ended')
      await sleep(watchMs)
      const later = look()
      assert.deepEqual(later.files, confirmed.files)
      assert.deepEqual(later.pids.difference(confirmed.pids), new Set())
    })
  })

function skipped(wall: (typeof walls)[number]): string | false {
  const isMissing = wall === 'bubblewrap' && !existsSync('/usr/bin/bwrap')
  return unable('python') || (isMissing && 'bwrap is missing')
}

/** Control: the attackers have the right that is closed later, and this process sees it. */
async function changes(look: () => Look, of: keyof Look): Promise<void> {
  const first = JSON.stringify([...look()[of]])
  for (let tries = 0; tries < changeTriesMax; tries++) {
    await sleep(50)
    if (JSON.stringify([...look()[of]]) !== first) return
  }
  assert.fail(`no change of ${of} was seen`)
}

interface Look {
  /** Sizes and times of change by name, the folder itself included. */
  readonly files: ReadonlyMap<string, string>
  readonly pids: ReadonlySet<string>
}

function lookInto(namespace: string, folder: string): Look {
  const pids = readdirSync('/proc').filter((pid) => namespaceOf(pid) === namespace)
  for (const pid of pids) {
    const root = `/proc/${pid}/root${folder}`
    try {
      return { files: filesOf(root), pids: new Set(pids) }
    } catch {
      // Race: the process has ended, or has another root.
    }
  }
  throw new Error('No process of the wall is seen')
}

function filesOf(root: string): ReadonlyMap<string, string> {
  return new Map(
    ['.', ...readdirSync(root).toSorted()].map((name) => [name, statOf(join(root, name))]),
  )
}

function statOf(path: string): string {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return stat ? `${stat.ctimeNs} ${stat.size}` : 'gone'
}

function namespaceOf(pid: string): string {
  try {
    return /^\d+$/.test(pid) ? readlinkSync(`/proc/${pid}/ns/pid`) : ''
  } catch {
    return ''
  }
}
