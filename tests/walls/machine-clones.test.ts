import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { HostMessageOf } from '../../src/agent-wire/encode.ts'
import { askStatus } from '../../src/agent-wire/agent-questions.ts'
import { MappedMemory } from '../../src/os/mapped-memory.ts'
import { renewAgent } from '../../src/agent-wire/make-unique.ts'
import type { Clone } from '../../src/warden/engines/qemu/clone.ts'
import { memoryMapping } from '../../src/warden/engines/qemu/memory-difference.ts'
import {
  whyTemplateBroken,
  whyTemplateBytesBroken,
  type Template,
} from '../../src/warden/engines/qemu/template.ts'
import { runOf } from '../fixtures/guest-agent.ts'
import { ask, draw, park, parkedPrograms, type Drawn } from './clone-programs.ts'
import { claimed, cloneState, CloneStand } from './clone-stand.ts'

/** Clones of real machines, under emulation: a template takes some five seconds of processor time, and a clone a third of one. */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const clonesMax = isLong ? 1_000 : 8
const atOnce = 4
const WAIT_MS_MAX = 60_000
const ANSWER_MS_MAX = 30_000
const PAGES_A_RUN = 256
/** Longer than the tolerance of the test: a clock that stood still is found. */
const PAUSE_MS = 4_000
const timeout = isLong ? 3_000_000 : 600_000
const found = await cloneState()
const skip = 'missing' in found ? found.missing : false
const stand = new CloneStand('missing' in found ? '' : found.state)

suite('A clone of a machine', { skip, timeout }, () => {
  let template: Template
  before(async () => {
    template = await stand.template('python')
  })
  after(() => stand.clear())

  test('The channel to its agent has frames in order, credit in both directions, ends, and matching answers', async () => {
    const { agent } = await claimedClone(template)
    const bytes = randomBytes(100_000)
    agent.send({ ...runOf(7, 'cat; exit 3'), stdoutCredit: 1_000 })
    const got: Buffer[] = []
    for (let credit = 65_536, sent = 0, left = bytes.length; left > 0;) {
      while (credit > 0 && sent < bytes.length) {
        const piece = bytes.subarray(sent, sent + Math.min(16_384, credit))
        agent.send({ kind: 'input', program: 7, bytes: piece })
        credit -= piece.length
        sent += piece.length
      }
      const next = await agent.take(['output', 'credit'], WAIT_MS_MAX)
      if (next.kind === 'credit') credit += next.bytes
      else {
        got.push(next.bytes)
        left -= next.bytes.length
        agent.send({ kind: 'credit', program: 7, stream: 'stdout', bytes: next.bytes.length })
      }
    }
    agent.send({ kind: 'close', program: 7 })
    assert.deepEqual((await agent.take('exited', WAIT_MS_MAX)).end, { exitCode: 3 })
    await agent.take('ended', WAIT_MS_MAX, ({ stream }) => stream === 'stdout')
    assert.ok(Buffer.concat(got).equals(bytes))
    assert.equal((await askStatus(agent, WAIT_MS_MAX)).count, 0)
  })

  test('Closing the host end of the channel ends the guest, and the death of a machine ends the channel', async () => {
    const first = await stand.clone(template)
    first.agent.close()
    assert.equal((await first.machine.ended).exitCode, 0)
    const second = await stand.clone(template)
    second.machine.kill()
    await second.machine.ended
    await second.agent.ended
    assert.throws(() => second.agent.send({ kind: 'status', nonce: 9 }), { code: 'PROTOCOL' })
  })

  test('A program that fills the memory and files of a clone leaves the template unchanged', async () => {
    const clone = await claimedClone(template)
    const filled =
      'stat -f -c %T /tmp /dev/shm; head -c 40000000 /dev/urandom > /tmp/a; head -c 40000000 /dev/zero > /dev/shm/b; cat /tmp/a /dev/shm/b | wc -c'
    assert.equal(await outputOf(clone, filled), 'tmpfs\ntmpfs\n80000000\n')
    assert.equal(whyTemplateBroken(template), undefined)
    assert.equal(await whyTemplateBytesBroken(template), undefined)
    const sibling = await claimedClone(template)
    assert.equal(
      await outputOf(sibling, 'ls /tmp /dev/shm /work'),
      '/dev/shm:\n\n/tmp:\n\n/work:\n',
    )
  })

  test('Attack: a page that one clone wrote is in no other clone, and in no file of the template', async () => {
    const canary = randomBytes(24).toString('hex')
    const writer = await stand.clone(template)
    const sibling = await stand.clone(template)
    await claimed(writer)
    // In memory of the kernel, of a process and of a file system.
    const script = `x=${canary}; for i in 1 2 3 4 5 6 7 8; do echo $x$x$x; done > /tmp/canary; export x; sleep 1000 > /dev/null 2>&1 & echo done`
    assert.equal(await outputOf(writer, script), 'done\n')
    const later = await stand.clone(template)
    assert.deepEqual(await findIn(writer, template, canary), true)
    assert.deepEqual(await findIn(sibling, template, canary), false)
    assert.deepEqual(await findIn(later, template, canary), false)
    for (const { path: file } of [template.memory, template.state])
      assert.equal(readFileSync(file).includes(canary), false)
  })

  test('A resumed clone has the time of its host', async () => {
    const clone = await claimedClone(template)
    await clone.machine.freeze()
    await sleep(PAUSE_MS)
    await resumed(clone)
    const began = Date.now()
    const said = Number(await outputOf(clone, 'date +%s')) * 1_000
    // Whole seconds, rounded down.
    assert.ok(said > began - 2_000 && said < Date.now() + 1_000, `${said - began} ms`)
  })
})

for (const program of parkedPrograms)
  suite(`Clones of a machine in which ${program} waits`, { skip, timeout }, () => {
    let template: Template
    before(async () => {
      template = await stand.template(program, { warm: (agent) => park(agent, program) })
    })
    after(() => stand.clear())

    test(`S1-13: ${program}: no two clones have an equal value, however drawn, before a pause or after, and each has the right time`, async () => {
      const all: Drawn[] = []
      const drawn = async () => {
        const clone = await stand.clone(template)
        try {
          const values = await drawTwice(clone)
          all.push(...values)
        } finally {
          await clone.machine.release()
        }
      }
      const workers = Array.from({ length: atOnce }, async (_, worker) => {
        for (let one = worker; one < clonesMax; one += atOnce) await drawn()
      })
      await Promise.all(workers)
      assert.equal(all.length, 2 * clonesMax)
      const perClone = new Set(['bootId', 'machineId', 'hostname'])
      for (const name of Object.keys(all[0]!).filter((one) => one !== 'timeMs')) {
        const values = all.map((one) => one[name])
        const isKept = perClone.has(name)
        assert.equal(
          new Set(values).size,
          isKept ? clonesMax : 2 * clonesMax,
          `${name}: ${values.join()}`,
        )
      }
    })
  })

async function claimedClone(template: Template): Promise<Clone> {
  const clone = await stand.clone(template)
  await claimed(clone)
  return clone
}

/** Resumes a paused clone, with a new seed and the time of its host. */
async function resumed({ machine, agent }: Clone): Promise<void> {
  await machine.thaw()
  await renewAgent(agent, ANSWER_MS_MAX)
}

/** Draws random values after a claim, and again after a pause. */
async function drawTwice(clone: Clone): Promise<readonly Drawn[]> {
  const { agent } = clone
  const { hostname, bootId } = await claimed(clone)
  assert.equal((await ask(agent, 'renew')).trim(), 'renewed')
  const first = await drawRight(clone)
  await clone.machine.freeze()
  await resumed(clone)
  const second = await drawRight(clone)
  for (const values of [first, second])
    assert.deepEqual([values['hostname'], values['bootId']], [hostname, bootId])
  return [first, second]
}

async function drawRight({ agent }: Clone): Promise<Drawn> {
  const began = Date.now()
  const values = await draw(agent)
  assert.ok(values.timeMs > began - 1_000 && values.timeMs < Date.now() + 1_000, `${values.timeMs}`)
  return values
}

let programs = 100

async function outputOf({ agent }: Clone, script: string): Promise<string> {
  const program = ++programs
  const run: HostMessageOf<'run'> = {
    ...runOf(program, script),
    streams: ['stdout'],
    stderrCredit: 0,
  }
  const said: Buffer[] = []
  agent.send(run)
  for (;;) {
    const next = await agent.take(['output', 'ended', 'refused'], WAIT_MS_MAX)
    if (next.kind !== 'output') break
    said.push(next.bytes)
  }
  return Buffer.concat(said).toString()
}

/** True if a page that the guest wrote contains a text. */
async function findIn({ machine }: Clone, template: Template, text: string): Promise<boolean> {
  const pid = machine.processes.at(-1)!.pid
  await using memory = await MappedMemory.open(pid, memoryMapping(pid, template.memoryMiB, true))
  for (const run of await memory.ownPages(PAGES_A_RUN))
    if ((await memory.read(run)).includes(text)) return true
  return false
}
