import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { zstdDecompressSync } from 'node:zlib'
import type { Capture } from '../../src/contract/provider.ts'
import { captureBytesMax } from '../../src/walls/memory-capture.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeMicroVm, noMachines } from '../conformance/microvm.ts'
import { Stand, until, type Made } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'

/** Captures of machines. The sources of their programs do not contain the planted texts. */
const skip = noMachines ?? false
const timeout = 900_000
const MIB = 2 ** 20
const planted = (kind: string) => `planted-${kind}-text`
const hidden = (kind: string) =>
  JSON.stringify([...Buffer.from(planted(kind))].map((byte) => byte ^ 0x55))
const limits = { timeout: 120_000 }
const holds = (kind: string) => `
import time
def main(input):
    held = bytes(b ^ 0x55 for b in ${hidden(kind)}).decode()
    with open('/tmp/dropped', 'w') as file:
        file.write(held[:8])
        file.flush()
        file.write('-in-a-file-' + held[8:])
    print('holds', flush=True)
    while True:
        print(time.time(), len(held), flush=True)
        time.sleep(0.05)`
/** Listens, forks, and writes a file, a link and a file in the image's own folder. */
const leaves = `
import os, socket, time
def main(input):
    listening = socket.create_server(('127.0.0.1', 8080))
    with open('/tmp/note', 'w') as file: file.write('written by the job')
    os.symlink('/etc/passwd', '/tmp/link')
    if os.fork() == 0: time.sleep(600)
    print('holds', flush=True)
    n = 0
    while True:
        n += 1
        print(n, flush=True)
        time.sleep(0.05)`
/** File names, types and sizes that could break an archive or its reader. */
const hides = `
import os, time
def main(input):
    os.chdir('/tmp')
    for name in (b'two\\nlines', b'not \\xff utf-8', b'..x', b'n' * 255):
        with open(name, 'w') as file: file.write('odd')
    os.mkfifo('pipe')
    os.symlink('/', 'root')
    with open('sparse', 'w') as file: file.truncate(12 << 20)
    deep = '.'
    for n in range(40):
        deep += '/d'
        os.mkdir(deep)
    for n in range(12):
        if os.fork() == 0: time.sleep(600)
    print('holds', flush=True)
    time.sleep(600)`
/** Incompressible bytes, in chunks that the guest can read fast. */
const fills = `
import os, time
def main(input):
    kept = [os.urandom(1 << 20) for n in range(90)]
    print('holds', flush=True)
    time.sleep(60)
    return len(kept)`

suite('A capture of a machine', { skip, timeout }, () => {
  let made: Made
  before(async () => void (made = await makeMicroVm({}, 'python')))
  after(async () => {
    await made.provider.close?.()
    await made.close()
  })
  const started = (code: string) => start(made, code)

  test('S1-20: has the memory and files that a job wrote, nothing of another clone, and lets the job continue', async () => {
    const one = await started(holds('one'))
    const other = await started(holds('other'))
    await using sandbox = one.sandbox
    await using second = other.sandbox
    const capture = await sandbox.capture()
    assert.equal(capture.kind, 'memory+disk')
    const memory = memoryOf(capture)
    for (const text of [planted('one'), 'planted--in-a-file-one'])
      assert.ok(memory.includes(text), text)
    assert.ok(!memory.includes('other-text'))
    const others = await second.capture()
    assert.ok(memoryOf(others).includes(planted('other')))
    for (const each of [capture, others])
      assert.notEqual(JSON.parse(part(each, 'machine.json').toString()).template, null)
    assert.ok(part(capture, 'devices.img').length > 10_000)
    const { length } = part(capture, 'memory.zst')
    assert.ok(length < 4 * MIB, `${length}`)
    const before = one.stdout()
    await until(() => one.stdout() !== before, 'what it says next')
    for (const { sandbox: each, end } of [one, other]) {
      each.kill({ status: 'cancelled' })
      await end
    }
  })

  test('S1-20: has processes, sockets and files marked as reported by the guest, while the job is frozen', async (t) => {
    const { sandbox: own, end, stdout } = await started(leaves)
    await using sandbox = own
    const began = performance.now()
    const capture = await sandbox.capture()
    t.diagnostic(`${Math.round(performance.now() - began)} ms`)
    for (const { name, bytes } of capture.parts)
      t.diagnostic(`${name} ${Buffer.concat(bytes).length}`)
    const trusted = capture.parts.filter(({ trust }) => !trust).map(({ name }) => name)
    assert.deepEqual(trusted, [
      'machine.json',
      'devices.img',
      'memory.zst',
      'memory.json',
      'agent.json',
    ])
    assert.equal(capture.why, undefined)
    const { processes } = reported(capture, 'guest-processes.json')
    const pythons = processes.filter(({ name }: { name: string }) => name.startsWith('python'))
    const [job, child] = pythons.slice(-2)
    assert.equal(child.parent, job.pid)
    const { sockets } = reported(capture, 'guest-sockets.json')
    const listening = sockets.find((one: { local: string }) => one.local === '127.0.0.1:8080')
    assert.equal(listening.state, 'LISTEN')
    assert.ok(listening.pids.includes(job.pid) && listening.pids.includes(child.pid))
    const { files } = reported(capture, 'guest-files.json')
    const fileAt = (at: string) => files.find((one: { path: string }) => one.path === at)
    assert.equal(fileAt('/tmp/link').target, '/etc/passwd')
    assert.equal(fileAt('/tmp/note').archived, 'tmp/note')
    assert.ok(part(capture, 'guest-files.tar').includes('written by the job'))
    const before = stdout()
    await until(() => stdout() !== before, 'what it says next')
    sandbox.kill({ status: 'cancelled' })
    await end
  })

  test('S1-20: has files with unusual names, and no pipes, links or files beyond the limit of the archive', async () => {
    const { sandbox: own, end } = await started(hides)
    await using sandbox = own
    const capture = await sandbox.capture()
    assert.match(capture.why!, /the files that the guest reported are incomplete/)
    const input = part(capture, 'guest-files.tar')
    const { stdout, status } = spawnSync('tar', ['-tv', '--quoting-style=escape'], { input })
    assert.equal(status, 0)
    const lines = stdout.toString().split('\n').slice(0, -1)
    assert.deepEqual(
      lines.filter((line) => !line.startsWith('-rw------- 0/0')),
      [],
    )
    for (const name of ['tmp/two\\nlines', 'tmp/..x', `tmp/${'n'.repeat(255)}`, 'utf-8'])
      assert.ok(
        lines.some((line) => line.endsWith(name)),
        name,
      )
    for (const name of ['pipe', 'root', 'sparse'])
      assert.ok(!lines.some((line) => line.endsWith(`tmp/${name}`)), name)
    const { files } = reported(capture, 'guest-files.json')
    const types = ['pipe', 'root', 'sparse'].map(
      (name) => files.find((one: { path: string }) => one.path === `/tmp/${name}`).type,
    )
    assert.deepEqual(types, ['other', 'link', 'file'])
    const { processes } = reported(capture, 'guest-processes.json')
    assert.ok(processes.length > 12, `${processes.length}`)
    sandbox.kill({ status: 'cancelled' })
    await end
  })

  test('S1-20: ends at its byte limit, and reports it', async (t) => {
    const { sandbox: own, end } = await started(fills)

    await using sandbox = own
    const capture = await sandbox.capture()
    const lengths = capture.parts.map(({ name }) => part(capture, name).length)
    const all = lengths.reduce((sum, length) => sum + length)
    const isByBytes = capture.why === `it holds more than ${captureBytesMax} bytes`
    // Under load the time that a guest may be stopped ends before the bytes do.
    if (!isByBytes) assert.match(capture.why!, /^memory that could not be read within/)
    t.diagnostic(capture.why!)
    assert.ok(all > (isByBytes ? captureBytesMax / 2 : MIB) && all <= captureBytesMax, `${all}`)
    const { isWhole } = JSON.parse(part(capture, 'memory.json').toString()) as { isWhole: boolean }
    assert.equal(isWhole, false)
    sandbox.kill({ status: 'cancelled' })
    await end
  })
})

suite('A capture of a machine without a template', { skip, timeout }, () => {
  test('S1-20: has all memory that the machine touched, or reports the limit that cut it', async () => {
    const made = await makeMicroVm({ templates: 'off' }, 'python')
    try {
      const { sandbox: own, end } = await start(made, holds('cold'))

      await using sandbox = own
      const capture = await sandbox.capture()
      const memory = memoryOf(capture)
      const places = JSON.parse(part(capture, 'memory.json').toString()) as { isWhole: boolean }
      const { template } = JSON.parse(part(capture, 'machine.json').toString()) as {
        template: string | null
      }
      assert.equal(template, null)
      assert.ok(memory.length > MIB, `${memory.length}`)
      // Under load a machine cannot be read completely in the time that a guest may be stopped, or touched more than fits.
      if (!places.isWhole)
        assert.match(capture.why!, /^(?:memory that could not be read within|it holds more than)/)
      else {
        assert.ok(memory.length > 40 * MIB, `${memory.length}`)
        for (const text of ['Linux version 6.', planted('cold')]) assert.ok(memory.includes(text))
      }
      sandbox.kill({ status: 'cancelled' })
      await end
    } finally {
      await made.provider.close?.()
      await made.close()
    }
  })
})

async function start(made: Made, code: string) {
  const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
  const controls = { memory: 256 * MIB }
  const running = await stand.start(code, { limits, controls })
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

/** Yields the pages of a capture in order. */
function memoryOf(capture: Capture): Buffer {
  const { frames } = JSON.parse(part(capture, 'memory.json').toString()) as { frames: number[] }
  const packed = part(capture, 'memory.zst')
  let at = 0
  return Buffer.concat(
    frames.map((bytes) => zstdDecompressSync(packed.subarray(at, (at += bytes)))),
  )
}
