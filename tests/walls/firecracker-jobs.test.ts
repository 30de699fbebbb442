import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { isAlive } from '../../src/os/proc.ts'
import { inNode, inPython, inShell } from '../conformance/guests-of-programs.ts'
import { until, type Wish } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { jails, makePlayed, whyNotPlayed, type PlayedWalls } from './firecracker-here.ts'
import {
  assertFreezes,
  assertNetworkCloses,
  closeWalls,
  standOf,
  startWardenToKill,
} from './wall-lives.ts'
import { countsForks, fillsMemory, ticks } from './wall-programs.ts'

/**
 * Jobs through warden, provider and engine, in clones of a played Firecracker whose guest is the real agent, carrier and runner as
 * processes of this host. They show the engine's part: requests, channels, bounds and ends. They show neither a guest kernel nor KVM.
 */
const skip = whyNotPlayed() ?? false
const timeout = 900_000
const limits = { timeout: 120_000 }
const mebibyte = 2 ** 20
const draws = `
import os, random, socket
def main(input): return [os.urandom(8).hex(), random.random(), socket.gethostname()]`
const writes = `
import errno, time
def why():
    try: open('/tmp/own', 'w').write('x')
    except OSError as error: return errno.errorcode[error.errno]
    return 'done'
def main(input):
    first = why()
    print('writing', flush=True)
    while why() == 'done': time.sleep(0.01)
    return [first, why()]`

suite('Jobs in clones of a played Firecracker', { skip, timeout }, () => {
  let made: PlayedWalls
  before(async () => void (made = await makePlayed('python')))
  after(() => closeWalls(made))
  const stand = () => standOf(made)

  test('A template is booted and saved once, and each job runs in a clone that was loaded from it', async () => {
    for (const input of [7, { text: 'zwei' }]) {
      const { end } = await stand().run(inPython.guests.echo!, { input, limits })
      assert.equal(end.status, 'ok', JSON.stringify(end))
      assert.deepEqual(JSON.parse(end.resultText), input)
    }
    const requests = made.programs.requests()
    const count = (one: string) => requests.filter((other) => other === one).length
    assert.deepEqual([count('PUT /actions 204'), count('PUT /snapshot/create 204')], [1, 1])
    assert.ok(count('PUT /snapshot/load 204') >= 2, requests.join('\n'))
  })

  test('The provider is proved, and lists its layers', async () => {
    const found = await made.provider.detect()
    assert.ok(found.available, JSON.stringify(found))
    assert.deepEqual(found.layers?.slice(0, 2), ['virtual machine', 'own kernel'])
    assert.ok(!found.layers?.includes('user namespace'))
    assert.ok(found.missing?.some((one) => one.startsWith('memory captures: ')))
  })

  test('Two clones of a template have different random numbers and different names', async () => {
    const ends = [await stand().run(draws, { limits }), await stand().run(draws, { limits })]
    const [first, second] = ends.map(({ end }) => JSON.parse(end.resultText) as unknown[])
    for (const [at, value] of first!.entries()) assert.notEqual(value, second![at])
  })

  test('A job reads its files, and output arrives as it is written', async () => {
    const files = [{ path: 'data.txt', content: 'read me', encoding: 'utf8' as const }]
    const source = `def main(input):\n    print('first', flush=True)\n    return open('data.txt').read()`
    const { end, stdout } = await stand().run(source, { files, limits })
    assert.deepEqual([end.resultText, stdout], ['"read me"', 'first\n'], JSON.stringify(end))
  })

  test('Memory above its limit ends a job, and the next one runs', async () => {
    const bound = 64 * mebibyte
    const { end } = await stand().run(fillsMemory, {
      controls: { memory: bound },
      limits: { ...limits, memory: bound },
    })
    assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'], JSON.stringify(end))
    assert.equal((await stand().run(inPython.guests.echo!, { input: 7 })).end.resultText, '7')
  })

  test('Processes beyond its limit are refused to a job', async () => {
    const { end } = await stand().run(countsForks, { controls: { processes: 5 }, limits })
    assert.equal(end.status, 'ok', JSON.stringify(end))
    assert.ok(Number(end.resultText) >= 3 && Number(end.resultText) <= 4, end.resultText)
  })

  test('Reads of the image are limited by the API, also while a job runs, and each limit is read back', async () => {
    const wish: Wish = { limits, controls: { io: mebibyte } }
    const limitsSince = (from: number) => {
      const requests = made.programs.requests().slice(from)
      return requests.filter((one) => /^(?:PATCH \/drives|GET \/vm\/config)/.test(one))
    }
    const readBack = ['PATCH /drives/root 204', 'GET /vm/config 200']
    const atFirst = made.programs.requests().length
    const running = await stand().start(ticks, wish)
    await using sandbox = running.sandbox
    assert.equal(sandbox.held?.['io'], 'throttle')
    assert.deepEqual(limitsSince(atFirst), readBack)
    await running.said('1')
    const before = made.programs.requests().length
    const controls = { ...stand().profile(wish).controls, io: mebibyte / 4 }
    assert.deepEqual((await sandbox.tighten(controls)).unenforced, [])
    sandbox.kill({ status: 'cancelled' })
    await running.end
    assert.deepEqual(limitsSince(before), readBack)
  })

  test('A job is not started in a clone that does not report its read limit at the claim', async () => {
    const ignoring = await makePlayed('python', { play: { ignoresPatches: true } })
    try {
      const own = standOf(ignoring)
      const wish: Wish = { limits, controls: { io: mebibyte } }
      await assert.rejects(own.start(ticks, wish), /Firecracker reports/)
    } finally {
      await closeWalls(ignoring)
    }
  })

  test('A frozen clone is paused by the API, writes nothing, and continues once it is thawed', async () => {
    const from = made.programs.requests().length
    await assertFreezes(stand(), limits)
    const since = made.programs.requests().slice(from)
    const count = (one: string) => since.filter((other) => other === one).length
    // A template is paused once, before it is saved.
    const paused = count('PATCH /vm 204') - count('PUT /snapshot/create 204')
    assert.ok(paused >= 2, since.join('\n'))
  })

  test('Writes are closed while a job runs', async () => {
    const wish: Wish = { limits, controls: { syscalls: ['exec', 'outside', 'process', 'write'] } }
    const running = await stand().start(writes, wish)
    await using sandbox = running.sandbox
    await running.said('writing')
    const syscalls = ['exec', 'outside', 'process']
    const enforced = await sandbox.tighten({ ...stand().profile(wish).controls, syscalls })
    assert.deepEqual([enforced.unenforced, enforced.trust], [[], 'guest'])
    assert.deepEqual(JSON.parse((await running.end).resultText), ['done', 'EROFS'])
  })

  test('A monitor has its own network namespace, and a killed job leaves no process, no jail and no cgroup', async () => {
    const running = await stand().start(inPython.guests.spins!, { limits })
    await running.said('spinning')
    const id = running.sandbox.wall!
    assert.ok(existsSync(join(jails, id)))
    const monitors = made.programs.pidsIn(join(jails, id, 'root'))
    const [monitor] = monitors
    const namespace = (pid: number | string) => readlinkSync(`/proc/${pid}/ns/net`)
    assert.notEqual(namespace(monitor!), namespace('self'))
    const groups = openCgroups()
    const own = [...monitors, ...(groups?.processes(id) ?? [])]
    assert.ok(!groups || own.length > monitors.length, `${own.join()} in the group and the jail`)
    running.sandbox.kill({ status: 'cancelled' })
    assert.equal((await running.end).status, 'cancelled')
    await running.sandbox[Symbol.asyncDispose]()
    await until(() => !existsSync(join(jails, id)), 'the jail to be removed')
    assert.deepEqual(
      own.filter((pid) => isAlive(pid)),
      [],
    )
    assert.ok(!groups?.list().includes(id))
  })

  test('A monitor killed during a job is reported as a lost wall, not as the end of the program', async () => {
    const running = await stand().start(inPython.guests.spins!, { limits })
    await running.said('spinning')
    const id = running.sandbox.wall!
    const [pid] = made.programs.pidsIn(join(jails, id, 'root'))
    process.kill(pid!, 'SIGKILL')
    const end = await running.end
    assert.deepEqual([end.status, end.error?.code], ['failed', 'WALL_LOST'], JSON.stringify(end))
    await running.sandbox[Symbol.asyncDispose]()
    await until(() => !existsSync(join(jails, id)), 'the jail to be removed')
  })
})

suite('Node and shell in clones of a played Firecracker', { skip, timeout }, () => {
  for (const language of [inNode, inShell])
    test(`A job in ${language.language} runs`, async () => {
      const made = await makePlayed(language.language)
      try {
        const { end } = await standOf(made, language).run(language.guests.echo!, {
          input: 7,
          limits,
        })
        assert.equal(end.resultText.trim(), '7', JSON.stringify(end))
      } finally {
        await closeWalls(made)
      }
    })
})

suite('Egress of a clone of a played Firecracker', { skip, timeout }, () => {
  test('Granted hosts are reached over the vsock, others are refused, and none once the network is closed', () =>
    assertNetworkCloses((egressParts) => makePlayed('python', { egressParts }), limits))
})

suite('A Firecracker that is unavailable', { skip, timeout }, () => {
  const missing = [
    ['the program', { options: { hide: ['firecracker'] } }, /"firecracker" is missing/, /^Put/],
    ['root', { options: { hide: ['root'] } }, /needs root/, /root/],
    [
      'a release without a known escape',
      { play: { version: '1.13.0' } },
      /CVE-2026-5747/,
      /^Install/,
    ],
    [
      'a vsock that outlives a pause',
      { play: { version: '1.16.1' } },
      /break the vsock/,
      /1\.15\.1/,
    ],
    [
      'a boot',
      { play: { faults: [{ on: 'PUT /actions', kind: '500' }] } },
      /Cannot do "PUT \/actions"/,
      /doctor/,
    ],
  ] as const
  for (const [part, wish, reason, fix] of missing)
    test(`Without ${part} it is unavailable, with cause and fix, and leaves nothing`, async () => {
      const made = await makePlayed('python', wish)
      try {
        const proved = await made.provider.detect()
        assert.ok(!proved.available)
        assert.match(proved.reason, reason)
        assert.match(proved.fix, fix)
        const isLeft = () => made.programs.ids().some((id) => existsSync(join(jails, id)))
        await until(() => !isLeft(), 'the jails to be removed')
      } finally {
        await closeWalls(made)
      }
    })
})

suite('A killed warden of played machines', { skip, timeout }, () => {
  test('The next warden ends its machines, and removes their jails and the template', async () => {
    using killed = await startWardenToKill<{ pids: number[]; left: string[] }>(
      'firecracker-life.ts',
    )
    const { pids, left } = killed.said
    assert.ok(pids.length >= 1 && left.length >= 2, JSON.stringify(killed.said))
    killed.child.kill('SIGKILL')
    await once(killed.child, 'exit')
    const next = holdWarden({ stateFolder: killed.state })
    const isLeft = () => left.some((one) => existsSync(join(jails, one)))
    await until(() => !isLeft(), 'the jails to be removed')
    await until(() => !pids.some((pid) => isAlive(pid)), 'the machines to end')
    await next.close()
  })
})
