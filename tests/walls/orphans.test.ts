import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { descendantsOf } from '../conformance/remains.ts'
import { inTime, until } from '../conformance/stand.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { wallUids } from '../../src/contract/uids.ts'
import { identify, isAlive } from '../../src/os/proc.ts'
import { endOrphans, launcherMarkOf } from '../../src/warden/engines/processes/orphans.ts'
import { remainsOf } from '../../src/warden/engines/sweep.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { openLeases } from '../../src/warden/lease.ts'
import { Warden } from '../../src/warden/warden.ts'
import { openWhole } from './whole-wall.ts'

const id = 'w0123456789abcdef'

/** Starts a process with `first` as its argv[0]. */
async function called(first: string, uid?: number) {
  const options = { argv0: first, stdio: 'ignore', ...(uid !== undefined && { uid }) } as const
  const child = spawn('/bin/sleep', ['60'], options)
  await once(child, 'spawn')
  const ended = once(child, 'exit')
  return {
    pid: child.pid!,
    ended,
    isThere: () => child.exitCode === null && child.signalCode === null && isAlive(child.pid!),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

const unshare = findProgram('unshare')
const namespaces = findJailFacts().namespaces && unshare !== undefined

suite('An orphaned launcher of a dead warden', { skip: process.platform !== 'linux' }, () => {
  test('is killed, and a launcher of a living warden is not', async () => {
    const { pid, startTime } = identify(process.pid)
    await using dead = await called(`mayfly-wall:${id}:${pid}:${startTime - 1}`)
    await using living = await called(launcherMarkOf(id))
    await using other = await called(`mayfly-wall:somebody:${pid}:${startTime - 1}`)
    await until(() => firstWordOf(dead.pid)!.startsWith('mayfly-wall'), 'it to be started')
    assert.ok(endOrphans() >= 1)
    assert.deepEqual(await dead.ended, [null, 'SIGKILL'])
    assert.ok(living.isThere() && other.isThere())
  })

  test('is killed under any uid of the wall range, and a process outside that range is not', async (t) => {
    if (!findJailFacts().root) return t.skip('walls have no uids of their own here')
    const { pid, startTime } = identify(process.pid)
    const mark = `mayfly-wall:${id}:${pid}:${startTime - 1}`
    await using wall = await called(mark, wallUids.last)
    await using other = await called(mark, wallUids.last + 1)
    for (const one of [wall, other])
      await until(() => firstWordOf(one.pid)!.startsWith('mayfly-wall'), 'it to be started')
    assert.ok(endOrphans() >= 1)
    assert.deepEqual(await wall.ended, [null, 'SIGKILL'])
    assert.ok(other.isThere())
  })

  test('is recognised by the mark in its arguments if it is bubblewrap, and only then', async (t) => {
    const bwrap = findProgram('bwrap')
    if (!bwrap || !namespaces) return t.skip('bubblewrap makes no walls here')
    const { pid, startTime } = identify(process.pid)
    const mark = `mayfly-wall:${id}:${pid}:${startTime - 1}`
    const words = ['--unshare-all', '--unsetenv', mark, '--ro-bind', '/', '/', '--', '/bin/sleep']
    const wall = spawn(bwrap, [...words, '60'], { stdio: 'ignore' })
    // Waits without a child, which would outlive it.
    const other = spawn('/bin/sh', ['-c', 'read line', mark])
    const ended = once(wall, 'exit')
    try {
      await until(() => descendantsOf(wall.pid!).length >= 2, 'the program in it')
      endOrphans()
      assert.deepEqual(await ended, [null, 'SIGKILL'])
      assert.ok(other.exitCode === null && other.signalCode === null && isAlive(other.pid!))
    } finally {
      for (const one of [wall, other]) one.kill('SIGKILL')
    }
  })

  test('is killed by a warden that finds a lease of a dead one, also if it closes at once', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-orphans-'))
    const { pid, startTime } = identify(process.pid)
    const owner = { pid, startTime: startTime - 1 }
    await using dead = await called(`mayfly-wall:${id}:${owner.pid}:${owner.startTime}`)
    try {
      await until(() => firstWordOf(dead.pid)!.startsWith('mayfly-wall'), 'it to be started')
      const [state, wall] = [join(folder, 'state'), 'wfedcba9876543210']
      const leases = leaseFolder(state)
      openLeases(leases, state).write(wall, 'processes', remainsOf([], null))
      const file = join(leases, `${wall}.json`)
      writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), owner }))
      // The later sweep of this warden never comes.
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const warden = new Warden({ stateFolder: state }, () => undefined)
      t.mock.timers.reset()
      await warden.close()
      assert.deepEqual(await inTime(dead.ended, 'its end'), [null, 'SIGKILL'])
      assert.ok(!existsSync(file))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('has the mark of its warden, for any process that execs bubblewrap first', async (t) => {
    if (!findProgram('bwrap') || !namespaces) return t.skip('bubblewrap makes no walls here')
    for (const hide of [[], ['cgroup']]) {
      await using whole = await openWhole({ hide })
      const wall = await whole.start('python', 'bubblewrap')
      const { pid, startTime } = identify(process.pid)
      const mark = `mayfly-wall:${wall.id}:${pid}:${startTime}`
      const launchers = descendantsOf(process.pid).filter((one) => wordsOf(one).includes(mark))
      assert.ok(launchers.length >= 1, JSON.stringify(hide))
    }
  })

  test(
    'is not killed if it belongs to a container',
    { skip: !namespaces && 'no namespaces here' },
    async () => {
      const { pid, startTime } = identify(process.pid)
      const mark = `mayfly-wall:${id}:${pid}:${startTime - 1}`
      const words = ['--user', '--map-root-user', '--pid', '--fork', '--kill-child', 'bash', '-c']
      const inside = spawn(unshare!, [...words, `bash -c 'exec -a ${mark} sleep 60' & wait`])
      try {
        const marked = () => descendantsOf(inside.pid!).find((one) => firstWordOf(one) === mark)
        await until(() => marked() !== undefined, 'a process in a container')
        const there = marked()!
        endOrphans()
        await sleep(50)
        assert.ok(isAlive(there))
      } finally {
        inside.kill('SIGKILL')
      }
    },
  )
})

function wordsOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}

const firstWordOf = (pid: number): string | undefined => wordsOf(pid)[0]
