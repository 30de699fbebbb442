import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import type { Frame } from '../../src/lib/frames.ts'
import { WallHandle, type HandleEnd } from '../../src/walls/handle.ts'
import { kind } from '../../src/walls/wire.ts'
import { deadlineFor } from '../../src/walls/worker-deadline.ts'
import { inTime, until } from '../conformance/stand.ts'

const isLinux = findJailFacts().platform === 'linux'
const MiB = 2 ** 20
const lifeMs = 400
const burning = 'let sum = 0; for (let i = 0; i < 1e9; i++) sum = (sum + i) | 0; return sum'
/** Endless timers, promises and a call. */
const lingering = `
  const burn = () => { for (let i = 0; i < 1e7; i++); }
  setInterval(burn, 0)
  const again = () => new Promise((done) => setTimeout(done, 0)).then(() => (burn(), again()))
  void again()
  return 1`
const sleeping = 'await new Promise((done) => setTimeout(done, 1e6))'

suite(
  'A worker with two jobs under one deadline',
  { skip: isLinux ? false : 'only Linux has these jails' },
  () => {
    test('is ended by the warden, if its server never sends another message', async () => {
      await using stand = await open()
      await stand.ends('return 1')
      assert.ok(stand.worker.deadline.begin(lifeMs))
      assert.equal(stand.worker.deadline.isOwn, false)
      stand.run('for (;;) {}')
      assert.equal((await inTime(stand.ended, 'the end of the wall')).how, 'deadline')
      assert.ok(!stand.frames.some((frame) => frame.kind === kind.end), 'the loop ended by itself')
    })

    test('reports no CPU time of the first job for the second', async () => {
      await using stand = await open(60_000)
      const first = await stand.ends(burning)
      assert.ok(stand.worker.deadline.begin(60_000))
      stand.run(sleeping)
      await until(() => stand.frames.some((frame) => frame.kind === kind.released), 'its release')
      const firstMs = first.cpuTimeMs
      stand.worker.deadline.own()
      const [ranMs] = stand.ran
      await stand.warden.usage(stand.worker.wall.id)
      void stand.worker.kill()
      const { exit } = await inTime(stand.ended, 'the end of the wall')
      // The guest slept: its CPU time is at most its run time plus the time of a kill.
      assert.ok(ranMs !== undefined && exit?.cpuMs !== undefined)
      assert.ok((exit.cpuMs ?? 0) < ranMs + firstMs / 2, `${exit.cpuMs} of ${firstMs}, ${ranMs}`)
    })

    test('runs nothing of a guest after its end, also with timers and promises left behind', async () => {
      await using stand = await open(60_000)
      await stand.ends(lingering)
      const { id } = stand.worker.wall
      // The worker makes a spare isolate after each job.
      await sleep(100)
      const before = await stand.warden.usage(id)
      await sleep(300)
      const after = await stand.warden.usage(id)
      assert.ok(after.cpuMs - before.cpuMs < 100, `${before.cpuMs} to ${after.cpuMs} ms`)
      // Shortened by the elapsed time, so that the deadline of the first job covers it under load too.
      assert.ok(stand.worker.deadline.begin(60_000 - (performance.now() - stand.sentAt)))
      assert.equal(stand.worker.deadline.isOwn, false)
      const { cpuTimeMs } = await stand.ends('return 2')
      assert.ok(cpuTimeMs < 100, `${cpuTimeMs} ms`)
      assert.deepEqual(stand.ran, [])
    })

    test('is not revived by a renewal that comes after its deadline', async () => {
      await using stand = await open(1)
      await stand.ends('return 1')
      const { id } = stand.worker.wall
      stand.warden.arm(id, 20)
      await stand.warden.loads()
      const past = performance.now() + 40
      // Blocks this process, and the warden in it.
      while (performance.now() < past);
      stand.warden.arm(id, 60_000)
      assert.equal((await inTime(stand.ended, 'the end of the wall')).how, 'deadline')
    })
  },
)

/** A warden with one worker, claimed for a first job of this length. */
async function open(firstLifeMs = lifeMs) {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-lease-'))
  const warden = holdWarden({ stateFolder: join(folder, 'state') })
  const ran: number[] = []
  const told = {
    ...warden,
    arm(wall: string, deadline: number, ranMs = 0) {
      ran.push(ranMs)
      warden.arm(wall, deadline, ranMs)
    },
  }
  const { wall, socket } = await warden.start('isolated-vm', { spares: 1, spareMiB: 64 })
  const worker = new WallHandle(wall, socket, told)
  const sentAt = performance.now()
  const to = { tenant: 'a', memory: 64 * MiB, deadline: deadlineFor(firstLifeMs) }
  await warden.claim(wall.id, to)
  worker.deadline.claimed(firstLifeMs, sentAt)
  const frames: Frame[] = []
  const ended = new Promise<HandleEnd>((resolve) =>
    worker.listen({ frame: (frame) => void frames.push(frame), ended: resolve }),
  )
  const run = (code: string) => {
    frames.length = 0
    worker.send(kind.run, JSON.stringify(taskOf(code)))
  }
  return {
    warden,
    worker,
    sentAt,
    ran,
    frames,
    ended,
    run,
    /** Head of its end frame, once the worker is idle. */
    async ends(code: string): Promise<{ readonly cpuTimeMs: number }> {
      run(code)
      await until(() => frames.some((frame) => frame.kind === kind.idle), 'an idle worker')
      const { payload } = frames.find((frame) => frame.kind === kind.end)!
      return JSON.parse(payload.toString().split('\n')[0]!) as { cpuTimeMs: number }
    },
    async [Symbol.asyncDispose]() {
      await warden.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Disables the worker's own timeout, so that only the warden ends the guest. */
function taskOf(code: string) {
  return {
    protocol: 1,
    language: 'js',
    entry: 'body',
    code,
    inputText: 'null',
    files: [],
    capabilities: [],
    memoryMiB: 64,
    webAssembly: false,
    timeoutMs: 600_000,
    outputBytesMax: 1024,
    resultBytesMax: 1024,
  }
}
