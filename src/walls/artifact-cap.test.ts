import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { allControls, noNetwork } from '../contract/controls.ts'
import type { TaskEnd } from '../contract/provider.ts'
import type { HandleListener } from './handle.ts'
import { createArtifactCap, type ArtifactCap } from './artifact-cap.ts'
import { ProgramSandbox } from './program-sandbox.ts'
import { kind } from './wire.ts'

/** Artifacts that guests make this server hold, with walls that are played. */
const limit = 100

test('Artifacts up to the limit are held and counted; a byte more ends the job as its own doing', async () => {
  const cap = createArtifactCap(1000)
  const guest = await played(cap)
  guest.leaves('a', 60)
  guest.leaves('b', 40)
  assert.equal(guest.sandbox.heldBytes, 100)
  guest.leaves('c', 1)
  const { status, error, artifacts } = await guest.end
  assert.deepEqual([status, error?.code], ['error', 'ARTIFACTS_TOO_LARGE'])
  assert.deepEqual(artifacts, [])
  assert.equal(guest.sandbox.heldBytes, 0)
  assert.ok(guest.isKilled())
  assert.ok(cap.take(1000), 'all of it was given back')
})

test('A job that exceeds the cap over all sandboxes ends HOST_MEMORY, and no other does', async () => {
  const cap = createArtifactCap(150)
  const [first, second] = [await played(cap), await played(cap)]
  first.leaves('a', 100)
  second.leaves('a', 50)
  second.leaves('b', 1)
  const { status, error } = await second.end
  assert.deepEqual([status, error?.code], ['failed', 'HOST_MEMORY'])
  assert.ok(!first.isKilled())
  const third = await played(cap)
  third.leaves('a', 50)
  assert.ok(!third.isKilled(), 'the room of the one that ended is free')
  await Promise.all([first, second, third].map(({ sandbox }) => sandbox[Symbol.asyncDispose]()))
  assert.ok(cap.take(150), 'disposing gives the rest back')
})

test('An artifact does not keep the memory of what came around it', async () => {
  const guest = await played(createArtifactCap(1000))
  const around = Buffer.alloc(2 ** 20)
  const frame = around.subarray(0, artifact('a', 10).copy(around))
  guest.hears(frame)
  guest.wallEnds()
  const { artifacts } = await guest.end
  assert.deepEqual(
    artifacts.map(({ bytes }) => bytes.buffer.byteLength),
    [10],
  )
})

test('Unread bytes of frames and of streams count as held', async () => {
  const guest = await played(createArtifactCap(1000))
  guest.leaves('a', 10)
  guest.parts.wall.unreadBytes = 7
  assert.equal(guest.sandbox.heldBytes, 17)
  guest.parts.wall.streams.stdout.write('12345')
  await new Promise((then) => void setImmediate(then))
  assert.equal(guest.sandbox.heldBytes, 22)
})

function artifact(path: string, size: number): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify({ path, size })}\n`), Buffer.alloc(size)])
}

async function played(artifactCap: ArtifactCap) {
  let listener: HandleListener | undefined
  let killed = false
  const wall = {
    wall: { id: 'w', layers: [], calls: [], idleBytes: 0 },
    streams: { stdout: new PassThrough(), stderr: new PassThrough() },
    unreadBytes: 0,
    ref: () => undefined,
    listen: (to: HandleListener | undefined) => void (listener = to),
    send: () => undefined,
    kill: () => ((killed = true), Promise.resolve()),
  }
  const controls = { ...allControls, network: noNetwork }
  const parts = {
    provider: 'played',
    profile: { controls, limits: { artifacts: limit, output: 1000 }, schedule: { phases: [] } },
    wall,
    warden: {},
    voice: { say: () => undefined },
    pool: 'hit',
    held: {},
    artifactCap,
  }
  const sandbox = new ProgramSandbox('s', parts as never)
  const task = { run: 'r', language: 'python', capabilities: [], files: [] } as never
  // Output of the program is not read.
  const io = { stdout: () => new Promise<void>(() => undefined), stderr: () => undefined }
  const end: Promise<TaskEnd> = sandbox.run(task, io as never)
  await new Promise((then) => void setImmediate(then))
  const hears = (payload: Buffer) => listener?.frame({ kind: kind.artifact, payload })
  return {
    parts,
    sandbox,
    end,
    hears,
    isKilled: () => killed,
    leaves: (path: string, size: number) => hears(artifact(path, size)),
    wallEnds: () => {
      for (const stream of Object.values(wall.streams)) stream.destroy()
      listener?.ended({ how: 'killed', peakBytes: 0, detail: 'played' })
    },
  }
}
