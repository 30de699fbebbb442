import assert from 'node:assert/strict'
import { zstdDecompressSync } from 'node:zlib'
import type { Capture } from '../../src/contract/provider.ts'
import { memoryImage } from '../../src/evidence/memory-image.ts'
import { createUserKernelProvider } from '../../src/tiers/userkernel/provider.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeOwnKernelWalls, whyNoImages } from '../conformance/microvm.ts'
import { Stand, until, type Made } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { isUserKernelThere, noUserKernel } from './user-kernel-here.ts'

/** Copies of user-mode kernels. Planted texts are nowhere in their sources. */
const skip = isUserKernelThere() ? (whyNoImages() ?? false) : noUserKernel
const timeout = 600_000
const MIB = 2 ** 20
const reportsMax = 60
const guestsMax = 8
/** A guest of a busy computer is not read to its end in the time that it may be paused. */
const lacksMemory = /memory that could not be read within|it holds more than/
const hidden = (text: string) => JSON.stringify([...Buffer.from(text)].map((byte) => byte ^ 0x55))
const holds = (text: string) => `
import socket, time
def main(input):
    held = bytes(b ^ 0x55 for b in ${hidden(text)}).decode()
    listening = socket.create_server(('127.0.0.1', 8080))
    with open('/tmp/dropped', 'w') as file: file.write(held[:8] + '-in-a-file-' + held[8:])
    print('holds', flush=True)
    while True:
        print(time.time(), len(held), flush=True)
        time.sleep(0.05)`

suite('A capture of a user-mode kernel', { skip, timeout }, () => {
  let made: Made
  before(async () => void (made = await makeOwnKernelWalls(createUserKernelProvider, {}, inPython)))
  after(async () => {
    await made.provider.close?.()
    await made.close()
  })

  test('S1-20: holds what a job wrote to memory and files, and nothing of another guest, and the job goes on', async (t) => {
    const other = await start(made, 'planted-two-text')
    await using _second = other.sandbox
    const one = await captured(made)
    await using _first = one.sandbox
    const { capture } = one
    t.diagnostic(`${Math.round(one.ms)} ms, ${part(capture, 'memory.zst').length} bytes`)
    assert.equal(capture.kind, 'memory+disk')
    const { isWhole } = JSON.parse(part(capture, 'memory.json').toString()) as { isWhole: boolean }
    if (!isWhole) assert.match(capture.why!, lacksMemory)
    else {
      const memory = memoryOf(capture)
      for (const text of ['Linux version ', 'planted-one-text', 'planted--in-a-file-one-text'])
        assert.ok(memory.includes(text), text)
      assert.ok(!memory.includes('two-text'))
      for (const { name, bytes } of capture.parts)
        assert.ok(!Buffer.concat(bytes).includes('two-text'), name)
    }
    // A second of its time: more than was on the way when it was paused.
    const linesOf = (text: string) => text.split('\n').length
    const before = linesOf(one.stdout())
    await until(() => linesOf(one.stdout()) > before + 20, 'what it says next')
    for (const { sandbox: each, end } of [one, other]) {
      each.kill({ status: 'cancelled' })
      await end
    }
  })

  test('S1-20: lists processes, sockets and files as reported by the guest, marked so', async () => {
    const { sandbox: own, end, capture } = await captured(made, captureReported)
    await using sandbox = own
    if (capture.why !== undefined) assert.match(capture.why, lacksMemory)
    const ofHost = capture.parts.filter(({ trust }) => trust !== 'guest').map(({ name }) => name)
    assert.deepEqual(ofHost, ['machine.json', 'memory.zst', 'memory.json'])
    const { sockets } = reported(capture, 'guest-sockets.json')
    const listening = sockets.find((each: { local: string }) => each.local === '127.0.0.1:8080')
    assert.equal(listening.state, 'LISTEN')
    assert.ok(part(capture, 'guest-files.tar').includes('planted--in-a-file-one-text'))
    assert.ok(reported(capture, 'guest-processes.json').processes.length > 1)
    sandbox.kill({ status: 'cancelled' })
    await end
  })

  test('S1-20: is written as an ELF core file with one range of addresses', async () => {
    const { sandbox: own, end, capture } = await captured(made)
    await using sandbox = own
    const [pages, changed] = [part(capture, 'memory.json'), part(capture, 'memory.zst')]
    const chunks = memoryImage({
      pages,
      changed: (async function* () {
        yield changed
      })(),
      base: undefined,
      isOneRange: true,
    })
    const { memoryMiB } = JSON.parse(part(capture, 'machine.json').toString()) as {
      memoryMiB: number
    }
    let [bytes, first] = [0, '']
    for await (const chunk of chunks) {
      if (bytes === 0) first = Buffer.from(chunk).toString('latin1', 0, 4)
      bytes += chunk.length
    }
    assert.equal(first, '\x7fELF')
    assert.equal(bytes, 4096 + memoryMiB * MIB)
    sandbox.kill({ status: 'cancelled' })
    await end
  })
})

interface Captured {
  capture(): Promise<Capture>
}

/**
 * A guest that holds the first text, a capture of it, and the milliseconds that this took. Begins with another guest where
 * the copy came late, on a busy machine: a wall gives none after that.
 */
async function captured(made: Made, take = (sandbox: Captured) => sandbox.capture()) {
  for (let tries = 1; ; tries++) {
    const { sandbox, end, stdout } = await start(made, 'planted-one-text')
    try {
      const began = performance.now()
      const capture = await take(sandbox)
      return { sandbox, end, stdout, capture, ms: performance.now() - began }
    } catch (error) {
      await sandbox[Symbol.asyncDispose]()
      if (tries === guestsMax || !/it is late/.test(String(error))) throw error
    }
  }
}

/** Captures again while the guest did not report all in the seconds that it has, on a busy machine. */
async function captureReported(sandbox: Captured): Promise<Capture> {
  for (let tries = 1; ; tries++) {
    const capture = await sandbox.capture()
    if (!/the guest/.test(capture.why ?? '') || tries === reportsMax) return capture
  }
}

async function start(made: Made, text: string) {
  const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
  const running = await stand.start(holds(text), {
    limits: { timeout },
    controls: { memory: 256 * MIB },
  })
  await running.said('holds')
  return running
}

function part({ parts }: Capture, name: string): Buffer {
  return Buffer.concat(parts.find((one) => one.name === name)!.bytes)
}

function reported(capture: Capture, name: string) {
  const { trust, ...rest } = JSON.parse(part(capture, name).toString())
  assert.equal(trust, 'guest')
  return rest
}

/** Pages of a copy, one after the other. */
function memoryOf(capture: Capture): Buffer {
  const { frames } = JSON.parse(part(capture, 'memory.json').toString()) as { frames: number[] }
  const packed = part(capture, 'memory.zst')
  let at = 0
  return Buffer.concat(
    frames.map((bytes) => zstdDecompressSync(packed.subarray(at, (at += bytes)))),
  )
}
