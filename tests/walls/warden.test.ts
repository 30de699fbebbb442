import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { MayflyError } from '../../src/contract/error.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { answerChannel } from '../../src/warden/channel.ts'
import { WallHandle, type HandleEnd } from '../../src/walls/handle.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import type { Reply } from '../../src/contract/warden.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { Warden } from '../../src/warden/warden.ts'
import { inTime, until } from '../conformance/stand.ts'
import { hostileMessages } from './messages.ts'

const MiB = 2 ** 20
/** Frame kind of a job for a worker. */
const runFrame = 1
const seed = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31)
const messages = process.env['MAYFLY_LONG'] ? 200_000 : 5_000
/** Retries: a stall of the machine does not repeat each time. */
const triesMax = 3
const settings = { spares: 1, spareMiB: 64 }
const bomb = 'const list = []; for (;;) list.push(new Array(1000).fill(1))'
const isLinux = findJailFacts().platform === 'linux'

suite('The warden', { skip: isLinux ? false : 'only Linux has these jails' }, () => {
  test(`survives ${messages} invalid requests, and starts no wall`, async (t) => {
    t.diagnostic(`MAYFLY_SEED=${seed}`)
    using folder = temporary()
    const warden = new Warden({ stateFolder: folder.state }, () => {})
    const replies: Reply[] = []
    const hear = answerChannel(warden, {
      send: (reply, handle, done) => {
        assert.equal(handle, undefined, 'a socket was passed out')
        replies.push(reply as Reply)
        done(null)
        return true
      },
    })
    for (const message of hostileMessages(seed, messages)) {
      hear(message)
      if (replies.length % 100 === 0) await new Promise((resolve) => void setImmediate(resolve))
    }
    await until(() => settled(replies), 'the answers')
    const { reply } = await warden.answer({ protocol: 1, id: 1, op: 'facts' })
    assert.ok('ok' in reply && reply.ok)
    assert.deepEqual((reply.value as { walls: unknown }).walls, [])
    assert.ok(replies.some((one) => 'ok' in one && !one.ok && one.code === 'PROTOCOL'))
    await warden.close()
  })

  test('binds a wall permanently to one tenant; the probe binds it to none', async () => {
    await using stand = open()
    const wall = await stand.start()
    const claim = (tenant: string) =>
      stand.warden.claim(wall.wall.id, { tenant, memory: MiB, deadline: 60_000 })
    await claim('')
    await claim('a'.repeat(64))
    await claim('')
    await claim('a'.repeat(64))
    await assert.rejects(claim('b'.repeat(64)), (thrown) => codeOf(thrown) === 'CONFLICT')
  })

  test('ends a wall at its deadline, also if the guest never yields', async () => {
    await using stand = open()
    const end = await stand.run('for (;;) {}', { memory: 64 * MiB, deadline: 300 })
    assert.equal(end.how, 'deadline')
  })

  const holders: readonly (readonly [by: string, options: Omit<WardenOptions, 'stateFolder'>])[] = [
    ['a memory cgroup and a watch', {}],
    ['a watch alone', { hide: ['cgroup'] }],
    ['a memory cgroup alone', { without: ['memory watch'] }],
  ]
  for (const [by, options] of holders)
    test(`ends a wall over its memory limit, with ${by}`, async (t) => {
      if (by.includes('cgroup') && !openCgroups()) return t.skip('no control groups for this user')
      const limit = 64 * MiB
      // A watch notices only at its next sample, which is sometimes late on a busy machine.
      const unseen = by === 'a watch alone' ? 32 * MiB : 0
      const bound = limit * 1.25 + 32 * MiB + unseen
      const grown: number[] = []
      do {
        await using stand = open(options)
        const end = await stand.run(bomb, { memory: limit, deadline: 60_000 })
        assert.equal(end.how, 'memory', end.detail)
        grown.push(end.peakBytes - stand.idleBytes)
      } while (grown.at(-1)! > bound && grown.length < triesMax)
      const text = grown.map((bytes) => Math.round(bytes / MiB)).join()
      assert.ok(grown.at(-1)! <= bound, `it grew by ${text} MiB`)
    })

  test('keeps no started process in its own cgroup, which has priority', async (t) => {
    const cgroups = openCgroups()
    if (!cgroups?.controllers.includes('cpu'))
      return t.skip('no cgroup of this user limits the CPU')
    using folder = temporary()
    const warden = holdWarden({ stateFolder: folder.state })
    try {
      for (const program of ['isolated-vm', 'wasi', 'analyst', 'node', 'python'] as const) {
        const { wall, socket } = await warden.start(program, settings)
        const lines = readFileSync(`/proc/${wall.pid}/cgroup`, 'utf8').split('\n')
        const place = lines.filter((line) => /^\d+:([^:]*,)?cpu[,:]|^0::\/./.test(line))
        assert.ok(place.length > 0 && place.every((line) => line.endsWith(`/mayfly/${wall.id}`)))
        await warden.kill(wall.id)
        socket.destroy()
      }
    } finally {
      await warden.close()
    }
  })

  test('answers requests about an ended wall', async () => {
    await using stand = open()
    const { wall } = await stand.start()
    await stand.warden.kill(wall.id)
    await stand.warden.kill(wall.id)
    await assert.rejects(
      stand.warden.claim(wall.id, { tenant: '', memory: MiB, deadline: 1000 }),
      (thrown) => codeOf(thrown) === 'NOT_FOUND',
    )
    assert.deepEqual(await stand.warden.release(wall.id), { peakBytes: 0, cpuMs: 0 })
    assert.deepEqual((await stand.warden.facts()).walls, [])
  })

  test('starts nothing once it is closing, and closing twice is harmless', async () => {
    await using stand = open()
    await Promise.all([stand.warden.close(), stand.warden.close()])
    await assert.rejects(stand.start(), (thrown) => codeOf(thrown) === 'DRAINING')
  })
})

/** A warden for one test, with walls driven by raw frames. */
function open(options: Omit<WardenOptions, 'stateFolder'> = {}) {
  const folder = temporary()
  const warden = holdWarden({ stateFolder: folder.state, ...options })
  const stand = {
    warden,
    idleBytes: 0,
    async start(): Promise<WallHandle> {
      const { wall, socket } = await warden.start('isolated-vm', settings)
      stand.idleBytes = wall.idleBytes
      return new WallHandle(wall, socket, warden)
    },
    async run(code: string, to: { memory: number; deadline: number }): Promise<HandleEnd> {
      const handle = await stand.start()
      await warden.claim(handle.wall.id, { tenant: 'a', ...to })
      const { promise, resolve } = Promise.withResolvers<HandleEnd>()
      handle.listen({ frame() {}, ended: resolve })
      handle.send(runFrame, JSON.stringify(task(code)))
      return inTime(promise, 'the end of the wall')
    },
    async [Symbol.asyncDispose]() {
      await warden.close()
      folder[Symbol.dispose]()
    },
  }
  return stand
}

function task(code: string) {
  return {
    protocol: 1,
    language: 'js',
    entry: 'body',
    code,
    inputText: 'null',
    files: [],
    capabilities: [],
    memoryMiB: 1024,
    webAssembly: false,
    timeoutMs: 600_000,
    outputBytesMax: 1024,
    resultBytesMax: 1024,
  }
}

function temporary() {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-warden-'))
  return {
    state: join(folder, 'state'),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

let answered = 0
/** True if nothing arrived since the last call. */
function settled(replies: readonly Reply[]): boolean {
  const isSame = replies.length === answered
  answered = replies.length
  return isSame
}

function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof MayflyError ? thrown.code : undefined
}
