import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../../src/contract/error.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import type { Box } from '../../src/sdk/box.ts'
import { wallFolder } from '../../src/warden/engines/wall-folder.ts'
import { noMachines } from '../conformance/microvm.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { sizeOf } from '../hostile/process/left-behind.ts'
import { openWalls, type Walls } from '../hostile/process/walls.ts'

/**
 * Root of a guest, with every capability and without a profile, that forges frames on the channels of its machine while that is forked:
 * the program tests/walls/fixtures/forged-frames.py. It is not frozen with the job, so its copies forge in the children before their
 * claim too.
 */
const skip = noMachines ?? false
const timeout = 1_800_000
const limits = { timeout: '60s' } as const
const program = readFileSync(new URL('fixtures/forged-frames.py', import.meta.url), 'utf8')
const values = `import os
read = lambda name: open(name).read().strip()
[read('/proc/sys/kernel/random/boot_id'), read('/etc/machine-id'), os.uname().nodename, os.urandom(8).hex()]`
/** Each write of the register of CPU hotplug, with its command for an OST status selected, is an event of QEMU: 300 at once. */
const eventFlood = `import ctypes, mmap, time
assert ctypes.CDLL(None).iopl(3) == 0
place = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
place.write(bytes.fromhex('66bad80c31c0ef66badd0cb002eeb92c01000066bae00cb801000000efffc975f2c3'))
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(place)))()
time.sleep(20)
'it went on'`
/** Ends of a session that was lost, broke the protocol, exited, or did not answer any more. */
const broken = /^(?:PROTOCOL|WALL_LOST|EXIT|TIMEOUT|UNAVAILABLE|SESSION_ENDED)$/

/** Kind, channel, and moment: when the job is frozen for the save, or in the claim of each child. */
const attacks = [
  ['held', 'agent', 'frozen', 'forges answers to the freeze of its job'],
  ['exited', 'agent', 'frozen', 'forges the end of its carrier'],
  ['claimed', 'agent', 'frozen', 'forges the answer to a claim'],
  ['half', 'agent', 'frozen', 'forges the first half of a frame'],
  ['carrier-held', 'carrier', 'frozen', 'forges that its streams stand still'],
  ['carrier-over', 'carrier', 'frozen', 'forges the end of its streams'],
  ['exec-end', 'carrier', 'frozen', 'forges the end of an exec'],
  ['stop', 'agent', 'frozen', 'stops its agent by ptrace'],
  ['break', 'agent', 'frozen', 'breaks its agent, and with it its kernel'],
  ['claimed', 'agent', 'child', 'forges the answer to the claim of a child'],
  ['exited', 'agent', 'child', 'forges the end of the carrier of a child'],
  ['exec-end', 'carrier', 'child', 'forges the end of an exec of a child'],
  ['stop', 'agent', 'child', 'stops the agent of a child by ptrace'],
] as const

/** Whether every capability of the kernel is effective. */
const hasAllRights = `int(open('/proc/self/status').read().split('CapEff:')[1].split()[0], 16) == (2 << int(open('/proc/sys/kernel/cap_last_cap').read())) - 1`

suite('A fork of a guest whose root forges frames', { skip, timeout }, () => {
  let walls: Walls
  let clean: Box
  before(async () => {
    const found = await machineState()
    assert.ok('state' in found)
    walls = await openWalls({ imageState: found.state, without: ['guest user', 'apparmor'] })
    clean = await open()
  })
  after(async () => {
    await clean.close()
    const left = await walls.close()
    await walls[Symbol.asyncDispose]()
    assert.equal(sizeOf(left), 0, JSON.stringify(left))
  })

  // The clean session lives as long as all attacks.
  const open = () => walls.open({ language: 'python', provider: 'qemu', limits, timeout: '50m' })

  test('Attack: root of a guest that floods the control connection of its machine with events ends itself', async () => {
    const box = await open()
    const { error } = await box.run({ code: eventFlood, limits })
    assert.equal(error?.code, 'WALL_LOST')
    assert.match(JSON.stringify(error), /its control connection ended: it sent too many events/)
    assert.equal(endOf(await box.close()), 'WALL_LOST')
  })

  for (const [kind, port, when, does] of attacks)
    test(`Attack: root of a guest that ${does} while it is forked is ended or goes on, its children have values of their own, and the template stays as it was`, async (t) => {
      const before = templates(walls.state)
      assert.ok(Object.keys(before).length > 0)
      const attack = async () => {
        const parent = await open()
        assert.equal((await parent.run({ code: hasAllRights, limits })).result, true)
        const code = `${program}\nforge('${kind}', '${port}', '${when}')`
        assert.equal((await parent.run({ code, limits })).result, 'ready')
        const made = await parent.fork({ children: 2 }).catch(codeOf)
        const all = [parent, ...(typeof made === 'string' ? [] : made)]
        const seen = await Promise.all(all.map(valuesOf))
        const ends = await Promise.all(all.map(async (one) => endOf(await one.close())))
        t.diagnostic(
          JSON.stringify({ made: typeof made === 'string' ? made : made.length, seen, ends }),
        )
        if (typeof made === 'string') assert.match(made, broken)
        const beside = await valuesOf(clean)
        assert.equal(typeof beside, 'object', 'the session beside it has no values')
        assertUnequal([...seen, beside])
        for (const end of ends) if (end !== 'ok') assert.match(end, broken)
        assert.deepEqual(templates(walls.state), before)
        if (when === 'child') assert.equal(typeof seen[0], 'object', 'the parent did not go on')
        // The two children of an honest guest end as ok.
        const isEnded = typeof made === 'string' || ends.slice(1).some((end) => end !== 'ok')
        return (when === 'frozen' ? ends[0] !== 'ok' : isEnded) ? ends : undefined
      }
      // On a busy machine a guest forges too late: the attack has to reach the host once.
      const ends = (await attack()) ?? (await attack()) ?? (await attack())
      assert.ok(ends, 'the attack did not reach the host')
      if (kind === 'carrier-over') assert.equal(ends[0], 'PROTOCOL')
      assert.equal((await clean.run({ code: '20 + 1', limits })).result, 21)
    })
})

/** Values of a session that are to be its own, or the code of its end. */
async function valuesOf(box: Box): Promise<readonly string[] | string> {
  try {
    const { status, result, error } = await box.run({ code: values, limits: { timeout: '20s' } })
    return status === 'ok' ? (result as readonly string[]) : (error?.code ?? status)
  } catch (error) {
    return codeOf(error)
  }
}

function assertUnequal(seen: readonly (readonly string[] | string)[]): void {
  const drawn = seen.flatMap((one) => {
    if (typeof one !== 'string') return one.map((value, n) => `${n} ${value}`)
    assert.match(one, broken)
    return []
  })
  assert.equal(new Set(drawn).size, drawn.length, JSON.stringify(seen))
}

function endOf({ status, error }: Awaited<ReturnType<Box['close']>>): string {
  return status === 'ok' ? status : (error?.code ?? status)
}

function codeOf(error: unknown): string {
  if (error instanceof MayflyError) return error.code
  throw error
}

/** Digests of the files of templates, and of saves of forks, by their ids. */
function templates(state: string): Readonly<Record<string, readonly string[]>> {
  const ids = readdirSync(leaseFolder(state))
    .filter((name) => name.startsWith('t'))
    .map((name) => name.replace(/\.json$/, ''))
  return Object.fromEntries(
    ids.map((id) => [
      id,
      readdirSync(wallFolder(id))
        .toSorted()
        .map((name) => `${name} ${digestOf(path.join(wallFolder(id), name))}`),
    ]),
  )
}

function digestOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}
