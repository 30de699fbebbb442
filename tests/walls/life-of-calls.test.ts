import assert from 'node:assert/strict'
import {
  accessSync,
  constants,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../src/contract/clock.ts'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { supervise } from '../../src/lives/supervise.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { Stand, until } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { untilInTime } from '../fixtures/lateness.ts'
import { taskOf } from '../sim/simulated-life.ts'
import { unable } from './process-stands.ts'

/** Classes of system calls that a phase closes, in a whole run of an unmodified program. */
const isInCi = process.env['CI'] === 'true'
const skip = unable('python') || noCompiler
const noBubblewrap = !isInCi && !findProgram('bwrap') && 'bwrap is missing'
const fullMs = 700
/** Time from the start of a phase: more than the 700 ms deadline of its acknowledgement, also under load. */
const heldMs = 1500
const freezer = '/sys/fs/cgroup/freezer'
const code = `
import os, subprocess, threading, time
def attempt(act):
    try:
        act()
        return 'ok'
    except OSError as error: return os.strerror(error.errno) if error.errno else 'refused'
    except RuntimeError: return 'refused'
def start(): subprocess.run(['/bin/true'], check=True)
def write(): open('/work/made', 'w').close()
def thread():
    one = threading.Thread(target=lambda: None)
    one.start()
    one.join()
for _ in range(200):
    print(attempt(start), '|', attempt(write), '|', attempt(thread), flush=True)
    time.sleep(0.05)
`

for (const jailKind of jailKinds)
  suite(
    `Classes of system calls, ${jailKind}`,
    {
      skip: skip || (jailKind === 'bubblewrap' && noBubblewrap),
    },
    () => {
      test('close at their phase and not before, and the timeline has the delay and the error number', async (t) => {
        const rowsOf = ({ said }: Lived) => said.split('\n').slice(0, -1)
        // A program that got no CPU time during a phase has no row of that phase.
        const hasBoth = (lived: Lived) => {
          const rows = rowsOf(lived)
          return rows[0] === 'ok | ok | ok' && !/ok/.test(rows.at(-1)!)
        }
        const { value } = await untilInTime(t, () => live(jailKind, code), hasBoth)
        const [lines, { timeline }] = [rowsOf(value), value]
        assert.equal(lines[0], 'ok | ok | ok')
        assert.match(lines.at(-1)!, /^[^|]*[a-z] \| Read-only file system \| refused$/)
        assert.doesNotMatch(lines.at(-1)!, /ok/)
        const tightened = timeline.find(({ event }) => event === 'tightened')!
        assert.equal(tightened.phase, 'quiet')
        assert.ok(tightened.at >= fullMs && tightened.took! > 0)
        const errno = { exec: 'EACCES', process: 'EAGAIN', write: 'EROFS' }
        assert.deepEqual(tightened.fields, { errno })
        assert.deepEqual(tightened.controls, { syscalls: ['network', 'outside'] })
      })

      test(
        'never stay partly closed: a run whose phase cannot be enforced ends with the reason',
        { skip: !isOurs(freezer) && 'no freezer of version 1 is here, or it is not ours' },
        async () => {
          const group = join(freezer, `mayfly-life-${process.pid}`)
          mkdirSync(group)
          const freeze = (state: string) => writeFileSync(join(group, 'freezer.state'), state)
          const holdUp = async () => {
            await until(() => named('waits-here') !== undefined, 'it to wait')
            writeFileSync(join(group, 'tasks'), named('waits-here')!)
            freeze('FROZEN')
            await sleep(fullMs + heldMs)
            freeze('THAWED')
          }
          try {
            const [{ end, timeline }] = await Promise.all([
              live(jailKind, waits, 5 * fullMs),
              holdUp(),
            ])
            const why = /a call that began before its class was closed was not over 700 ms later/
            assert.match(`${end.error?.message} ${timeline.at(-1)!.reason}`, why)
            assert.equal(
              timeline.find(({ event }) => event === 'tightened'),
              undefined,
            )
            assert.notEqual(end.status, 'ok')
          } finally {
            freeze('THAWED')
            await until(() => isRemoved(group), 'the group to be empty')
          }
        },
      )
    },
  )

/** Blocks in open() of a FIFO without a reader, since before its class is closed. */
const waits = `
import ctypes, os
os.mkfifo('/work/pipe')
ctypes.CDLL(None).prctl(15, b'waits-here')
try: os.open('/work/pipe', os.O_WRONLY)
except OSError: pass`

type Lived = Awaited<ReturnType<typeof live>>

async function live(jailKind: (typeof jailKinds)[number], code: string, quietMs = fullMs) {
  const made = await makeProcesses(jailKind, {}, 'python')
  const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
  const usual = stand.profile({ limits: { timeout: fullMs + quietMs }, entry: 'program' })
  const closed = { ...usual.controls, syscalls: ['network', 'outside'] }
  const phases = [
    { name: 'full', for: fullMs, controls: usual.controls },
    { name: 'quiet', for: quietMs, controls: closed },
  ]
  const onAnomaly = { low: 'record', medium: 'record', high: 'terminate' } as const
  const profile = { ...usual, schedule: { ...usual.schedule, phases, onAnomaly } }
  const sandbox = await made.provider.launch(profile, systemClock)
  try {
    const emitter = { emit() {} }
    const { signal } = new AbortController()
    const supervisor = supervise({ sandbox, profile, clock: systemClock, emitter, signal })
    let said = ''
    const io = {
      stdout: (chunk: Uint8Array) => void (said += Buffer.from(chunk).toString()),
      stderr() {},
      answered() {},
    }
    const task = taskOf({ language: 'python', entry: 'program', code })
    const ended = await supervisor.run(task, io)
    await supervisor[Symbol.asyncDispose]()
    return { ...ended, said }
  } finally {
    await sandbox[Symbol.asyncDispose]()
    await made.provider.close?.()
    await made.close()
  }
}

function named(name: string): string | undefined {
  return readdirSync('/proc').find((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === name
    } catch {
      return false
    }
  })
}

function isOurs(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function isRemoved(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch {
    return false
  }
}
