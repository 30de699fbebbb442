import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { noNetwork } from '../../src/contract/controls.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { isAlive } from '../../src/os/proc.ts'
import { belowOf } from '../../src/os/process-tree.ts'
import { isRunscThere, makeGvisor, noRunsc } from '../conformance/gvisor.ts'
import { inNode, inPython, inShell } from '../conformance/guests-of-programs.ts'
import { messageIn, Stand, until, type Made } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { assertGoneInTime, whyNoGroups } from './gone-in-time.ts'

/** Tests beyond the suite of conformance: the inside of a capture, the way out, and what an end leaves on the host. */
const planted = 'the-planted-text-of-a-program'
const hidden = JSON.stringify([...Buffer.from(planted)].map((byte) => byte ^ 0x55))
const holds = `
import os, time
def main(input):
    kept = bytes(b ^ 0x55 for b in ${hidden}) * 2
    if os.fork() == 0:
        with open('/tmp/own', 'wb') as file: file.write(kept[:11] + b'in-a-file' + kept[11:])
        os._exit(0)
    os.wait()
    print('holds', flush=True)
    for n in range(2000):
        print(n, flush=True)
        time.sleep(0.01)
    return len(kept)`
const asks = `
import time, urllib.error, urllib.request
def main(input):
    def ask(url):
        try: return urllib.request.urlopen(url, timeout=5).status
        except urllib.error.HTTPError as error: return error.code
        except OSError as error: return 'cut'
    said = [ask(input['granted']), ask(input['other'])]
    print('asked', flush=True)
    time.sleep(1)
    return [*said, ask(input['granted'])]`
const skip = isRunscThere() ? false : noRunsc

suite('A wall of gvisor', { skip }, () => {
  let made: Made
  before(async () => void (made = await makeGvisor({}, 'python')))
  after(async () => {
    await made.provider.close?.()
    await made.close()
  })
  const stand = () =>
    new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)

  test('Captures are checkpoints with the memory, name their missing parts, and let the program continue', async () => {
    const running = await stand().start(holds)
    await using sandbox = running.sandbox
    await running.said('holds')
    const { kind, parts, why } = await sandbox.capture()
    assert.equal(kind, 'memory+disk')
    assert.match(why!, /connections/)
    const inFile = `${planted.slice(0, 11)}in-a-file${planted.slice(11)}${planted}`
    for (const text of [planted + planted, inFile])
      assert.ok(
        parts.some(({ bytes }) => Buffer.concat(bytes).includes(text)),
        text,
      )
    const before = running.stdout()
    await until(() => running.stdout() !== before, 'what it says next')
    sandbox.kill({ status: 'cancelled' })
    await running.end
  })

  test('Frozen programs make no progress until they are thawed', async () => {
    const running = await stand().start(holds)
    await using sandbox = running.sandbox
    await running.said('holds')
    await sandbox.freeze()
    await sleep(50)
    const before = running.stdout()
    await sleep(150)
    assert.equal(running.stdout(), before)
    await sandbox.thaw()
    await until(() => running.stdout() !== before, 'what it says next')
    sandbox.kill({ status: 'cancelled' })
    await running.end
  })

  test(
    'S1-19: no process of a wall is left 500 ms after the result of its program, in one of eight tries',
    { skip: whyNoGroups },
    () => assertGoneInTime(stand(), { timeout: 30_000 }),
  )

  test('Killed, it leaves no process and no folder', async () => {
    const running = await stand().start(inPython.guests.spins!)
    await running.said('spinning')
    const mine = belowOf(process.pid)
    const folder = join('/tmp', `mayfly-${running.sandbox.wall!}`)
    assert.ok(existsSync(folder))
    running.sandbox.kill({ status: 'cancelled' })
    assert.equal((await running.end).status, 'cancelled')
    await running.sandbox[Symbol.asyncDispose]()
    await until(() => !existsSync(folder), 'the folder to be removed')
    const isOf = (pid: number) => isAlive(pid) && !belowOf(process.pid).includes(pid)
    assert.deepEqual(mine.filter(isOf), [])
  })
})

suite('Egress of a gVisor wall', { skip }, () => {
  test('Granted hosts are reached, others are refused, and none once the network is closed', async () => {
    const server = createServer((_request, response) => void response.end('here'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const granted = `http://a.example:${port}`
    const made = await makeGvisor({}, 'python', {
      credentials: [],
      dial: {
        resolver: (name) => Promise.resolve(name.endsWith('.example') ? ['127.0.0.1'] : []),
        exceptions: [`127.0.0.1:${port}`],
      },
    })
    try {
      const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
      const wish = { controls: { network: { allow: [granted], deny: [] } } }
      const input = { granted, other: `http://b.example:${port}` }
      const running = await stand.start(asks, { ...wish, input })

      await using sandbox = running.sandbox
      await running.said('asked')
      await sandbox.tighten({ ...stand.profile(wish).controls, network: noNetwork })
      assert.equal((await running.end).resultText, '[200,403,403]')
    } finally {
      await made.provider.close?.()
      await made.close()
      server.close()
    }
  })
})

suite('A killed warden', { skip }, () => {
  test('leaves no process of a gVisor wall, and the next one removes its folder', async () => {
    const base = mkdtempSync(join(tmpdir(), 'mayfly-swept-'))
    const state = join(base, 'state')
    const program = join(import.meta.dirname, 'fixtures/gvisor-life.ts')
    const child = spawn(process.execPath, [program, state], {
      stdio: ['ignore', 'pipe', 'ignore'],
      // Temporary files of the killed child go with this folder.
      env: { ...process.env, TMPDIR: base },
    })
    try {
      const [said] = (await once(child.stdout, 'data')) as [Buffer]
      const { wall, pids } = JSON.parse(said.toString()) as { wall: string; pids: number[] }
      assert.ok(pids.length > 3)
      child.kill('SIGKILL')
      await until(() => !pids.some((pid) => isAlive(pid)), 'its processes to end')
      const folder = `/tmp/mayfly-${wall}`
      assert.ok(existsSync(folder))
      const next = holdWarden({ stateFolder: state })
      await until(() => !existsSync(folder), 'the folder to be removed')
      await next.close()
    } finally {
      child.kill('SIGKILL')
      rmSync(base, { recursive: true, force: true })
    }
  })
})

const fills = `f = open('/work/big', 'wb', 0)
try:
    while True: f.write(bytes(1 << 20))`
const full = ['limit', 'DISK'] as const
const ownError = ['error', 'USER_ERROR'] as const
/** Programs with 64 MB of scratch folders. */
const fillings = [
  { name: 'Python fills it', of: inPython, code: `${fills}\nfinally: pass`, ends: full },
  {
    name: 'Python fills it, and exits without a report',
    of: inPython,
    code: `import os\n${fills}\nexcept OSError: os._exit(3)`,
    ends: full,
  },
  {
    name: 'Node fills it',
    of: inNode,
    code: `import { appendFileSync } from 'node:fs'\nfor (;;) appendFileSync('big', Buffer.alloc(1 << 20))`,
    ends: full,
  },
  {
    name: 'a child of a shell fills /tmp',
    of: inShell,
    code: 'dd if=/dev/zero of=/tmp/big bs=1M 2>/dev/null',
    ends: full,
  },
  {
    name: 'Python fills it and goes on',
    of: inPython,
    code: `${fills}\nexcept OSError: print('handled')`,
    ends: ['ok', undefined],
  },
  {
    name: 'Python nearly fills it, and fails for another reason',
    of: inPython,
    code: `open('/work/big', 'wb').write(bytes(60 << 20))\n1 / 0`,
    ends: ownError,
  },
  {
    name: 'Python only says so',
    of: inPython,
    code: `import errno\nraise OSError(errno.ENOSPC, 'No space left on device')`,
    ends: ownError,
  },
] as const

suite('The disk of a gVisor wall', { skip }, () => {
  const made = new Map<string, Made>()
  before(async () => {
    for (const language of ['python', 'node', 'sh'] as const)
      made.set(language, await makeGvisor({}, language))
  })
  after(async () => {
    for (const { provider, close } of made.values()) {
      await provider.close?.()
      await close()
    }
  })

  for (const { name, of, code, ends } of fillings)
    test(`behind gVisor: ${name}: ${ends.join(' ')}`, async () => {
      const { provider } = made.get(of.language)!
      const stand = new Stand(provider, () => Promise.reject(new Error('no other')), of)
      const { end } = await stand.run(code, { entry: 'program' })
      assert.deepEqual([end.status, end.error?.code], ends, messageIn(end))
      if (end.status === 'limit') assert.equal(end.isReported, true, 'the sentry alone counts it')
    })
})
