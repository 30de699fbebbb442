import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { suite, test } from 'node:test'
import type { AgentLink, AgentQuestion } from '../../../agent-wire/agent-link.ts'
import type { HostMessage } from '../../../agent-wire/encode.ts'
import { callClasses, type CallClass } from '../../../contract/calls.ts'
import type { Enclosure } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import { GuestEnclosure, type GuestWallParts } from './enclosure.ts'
import { GuestCaptures } from './captures.ts'
import { GuestForks } from './forks.ts'
import { JobFreezer } from './job-freezer.ts'
import { NestedPauses } from './nested-pauses.ts'
import type { GuestCopy, LiveMachine } from './source.ts'

const position = { inputBytes: 1, abilities: [], seenCredit: 0, programs: [] }
const broken = () => Promise.reject(new MayflyError('PROTOCOL', 'Cannot speak to an agent'))
const freezes = () => Promise.resolve({ kind: 'held', nonce: 1, errno: 0 })
const refuses = () => Promise.resolve({ kind: 'held', nonce: 1, errno: 11 })

suite('A fork of a guest', () => {
  test('saves it with its job frozen, and lets it go on before a machine is made of it', async () => {
    const { forks, steps } = played()
    const fork = await forks.fork()
    assert.deepEqual(steps, ['prepare', 'pause', 'save', 'resume'])
    await fork.start()
    await fork.release()
    assert.deepEqual(steps.slice(4), ['start', 'release'])
  })

  test('is refused where the guest does not freeze its programs, answers falsely, or not at all; it goes on, and no save is left', async () => {
    for (const answer of [broken, refuses]) {
      const { forks, steps } = played({ answer })
      await assert.rejects(forks.fork(), isUnavailable(/did not freeze its programs/))
      assert.deepEqual(steps.slice(0, 2), ['prepare', 'pause'])
      assert.deepEqual(steps.slice(-2), ['resume', 'remove'])
      assert.ok(!steps.includes('save'))
    }
  })

  test('is refused while the guest has a message half sent, or owes an answer', async () => {
    const restless = {
      isAtRest: false,
      rest: () => Promise.resolve(),
      get position(): never {
        throw new RangeError('half a message was received')
      },
    }
    const { forks, steps } = played({ more: restless })
    await assert.rejects(forks.fork(), isUnavailable(/half a message/))
    assert.deepEqual(steps, ['prepare', 'pause', 'lent', 'taken back', 'resume', 'remove'])
  })

  test('waits for an answer that the guest owes at its pause, with the job frozen', async () => {
    const rest = async () => {
      await new Promise((then) => void setTimeout(then, 50))
      steps.push('answer')
    }
    const owing = { position, isAtRest: false, rest }
    const { forks, steps } = played({ more: owing })
    await forks.fork()
    const awaited = ['lent', 'answer', 'taken back']
    assert.deepEqual(steps, ['prepare', 'pause', ...awaited, 'save', 'resume'])
  })

  test('removes its save where the guest does not go on, and where it could not be saved', async () => {
    const stuck = played({ resume: broken })
    await assert.rejects(stuck.forks.fork(), isUnavailable(/Cannot speak/))
    assert.deepEqual(stuck.steps, ['prepare', 'pause', 'save', 'resume', 'release', 'remove'])
    const full = played({ save: () => Promise.reject(new Error('ENOSPC')) })
    await assert.rejects(full.forks.fork(), isUnavailable(/ENOSPC/))
    assert.deepEqual(full.steps, ['prepare', 'pause', 'save', 'resume', 'remove'])
  })

  test('releases a machine for which no wall can be made', async () => {
    const { forks, steps } = played({ enclose: 'fails' })
    const fork = await forks.fork()
    await assert.rejects(fork.start(), /no wall/)
    assert.equal(steps.at(-1), 'machine released')
  })
})

suite('A capture and a fork of one guest', () => {
  test('A capture that is requested while a fork saves the guest runs it only after that', async (t) => {
    const saving = Promise.withResolvers<void>()
    const { forks, captures, steps } = played({ save: () => saving.promise })
    const socket = await captures.open()
    t.after(() => socket.destroy())
    const fork = forks.fork()
    await until(() => steps.includes('save'))
    const capture = captures.capture(2 ** 20)
    for (let turns = 0; turns < 20; turns++) await new Promise((then) => void setImmediate(then))
    assert.deepEqual(steps, ['prepare', 'pause', 'save'])
    saving.resolve()
    await Promise.all([fork, capture])
    await until(() => steps.filter((step) => step === 'resume').length === 2)
    const ofCapture = ['pause', 'copy', 'lent', 'taken back', 'resume']
    assert.deepEqual(steps, ['prepare', 'pause', 'save', 'resume', ...ofCapture])
  })

  test('A fork that is requested while a capture copies the guest begins after its report', async (t) => {
    const copying = Promise.withResolvers<void>()
    const { forks, captures, steps } = played({ copying: () => copying.promise })
    const socket = await captures.open()
    t.after(() => socket.destroy())
    const capture = captures.capture(2 ** 20)
    await until(() => steps.includes('copy'))
    const fork = forks.fork()
    for (let turns = 0; turns < 20; turns++) await new Promise((then) => void setImmediate(then))
    copying.resolve()
    await Promise.all([fork, capture])
    const ofCapture = ['lent', 'taken back', 'resume']
    const ofFork = ['pause', 'save', 'resume']
    assert.deepEqual(steps, ['pause', 'copy', 'prepare', ...ofCapture, ...ofFork])
  })

  test('A capture that fails keeps no fork waiting', async (t) => {
    const { forks, captures, steps } = played({ copying: () => Promise.reject(new Error('EIO')) })
    const socket = await captures.open()
    t.after(() => socket.destroy())
    await assert.rejects(captures.capture(2 ** 20), isUnavailable(/EIO/))
    await forks.fork()
    assert.deepEqual(steps.slice(-4), ['prepare', 'pause', 'save', 'resume'])
  })
})

suite('A pause of a guest that fails', () => {
  const late = () => Promise.reject(new MayflyError('UNAVAILABLE', 'Cannot freeze a guest'))

  test('Resumes the guest, and thaws its job', async () => {
    const { parent, asked, states } = playedParent({ freeze: late })
    await parent.claim({ memory: 2 ** 26 })
    asked.length = 0
    await assert.rejects(parent.freeze(), { code: 'UNAVAILABLE' })
    assert.deepEqual([asked, states], [['thaw'], ['freeze', 'thaw']])
  })

  test('Kills a guest that cannot be resumed either', async () => {
    const { parent, states } = playedParent({ freeze: late, thaw: late })
    await assert.rejects(parent.freeze(), { code: 'UNAVAILABLE' })
    assert.deepEqual(states, ['freeze', 'thaw', 'kill'])
  })
})

suite('Classes of calls in a fork of a guest', () => {
  const bounds = { memory: 2 ** 26 }
  const allow: readonly CallClass[] = ['exec', 'network', 'outside']

  test('A class that the parent closed after the save is open in the child, whose claim closes it before its job is thawed', async () => {
    const { parent, start } = await forkedParent()
    await parent.calls.close([{ afterMs: 0, allow }])
    const { child, asked } = await start()
    assert.deepEqual([parent.calls.open, child.calls.open], [allow, callClasses])
    await child.claim(bounds)
    const closing = ['lower-limit', 'close-writing', 'replace-policy exec network outside']
    assert.deepEqual(asked, ['claim', ...closing, 'thaw'])
    assert.deepEqual(child.calls.open, allow)
  })

  test('A class that the parent closes after the start of its child stays open in the child, until that is asked to close it', async () => {
    const { parent, start } = await forkedParent()
    const { child, asked } = await start()
    await parent.calls.close([{ afterMs: 0, allow: [] }])
    asked.length = 0
    await child.claim(bounds)
    assert.deepEqual(asked.splice(0), ['claim', 'thaw'])
    const { answers } = await child.calls.close([{ afterMs: 0, allow }])
    assert.deepEqual(asked, ['lower-limit', 'close-writing', 'replace-policy exec network outside'])
    assert.deepEqual(answers, { process: 'EAGAIN', write: 'EROFS' })
  })

  test('A class that was closed at the save is closed in the child', async () => {
    const { parent, asked } = playedParent()
    await parent.calls.close([{ afterMs: 0, allow }])
    const fork = await parent.forks!.fork()
    asked.length = 0
    const child = (await fork.start()) as GuestEnclosure
    assert.deepEqual(child.calls.open, allow)
    await child.claim(bounds)
    assert.deepEqual(asked, ['claim', 'thaw'])
  })
})

/** A guest that was forked; requests to the agents before the start of its child are left out of `asked`. */
async function forkedParent() {
  const { parent, asked } = playedParent()
  const fork = await parent.forks!.fork()
  const start = async () => {
    asked.length = 0
    const child = (await fork.start()) as GuestEnclosure
    return { child, asked }
  }
  return { parent, start }
}

async function until(isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!isSo()) {
    assert.ok(performance.now() < deadline, 'it is late')
    await new Promise((then) => void setImmediate(then))
  }
}

type PlayedVmm = Partial<Pick<LiveMachine['process'], 'freeze' | 'thaw'>>

/** A guest with a profile, of a machine that can be forked. `asked`: of its agent, and of those of its children. */
function playedParent(vmm: PlayedVmm = {}) {
  const asked: string[] = []
  const states: string[] = []
  const policies = { compile: (open: readonly CallClass[]) => Promise.resolve(open.join(' ')) }
  const parts = {
    program: 'python',
    key: {},
    disk: 0,
    tookMs: 0,
    isBounded: true,
    kind: { mechanism: 'played', processName: 'played', layers: [], missing: () => [] },
    policies,
    report: () => undefined,
  } as unknown as GuestWallParts
  const parent = new GuestEnclosure(playedMachine(asked, { states, vmm }), parts)
  return { parent, asked, states }
}

/** A machine whose agent agrees to all that it is asked. */
function playedMachine(
  asked: string[],
  {
    states = [],
    vmm: { freeze, thaw } = {},
  }: { readonly states?: string[]; readonly vmm?: PlayedVmm } = {},
): LiveMachine {
  let seed: Uint8Array = Buffer.alloc(0)
  const bootId = Buffer.alloc(16)
  const agent = {
    hasZones: false,
    isAtRest: true,
    position,
    can: (ability: string) => ability === 'confines',
    send(message: HostMessage) {
      if (message.kind !== 'claim') return
      asked.push('claim')
      seed = Buffer.from(message.seed)
    },
    async take(kinds: string | readonly string[]) {
      if (kinds === 'exited') return await new Promise(() => undefined)
      const digest = createHash('sha256').update(seed).update(bootId).digest()
      return { kind: 'claimed', bootId, digest, steps: { memory: 0 } }
    },
    async ask(message: AgentQuestion) {
      if (message.kind === 'hold' && !message.on) asked.push('thaw')
      if (message.kind === 'phase') {
        const { command } = message
        const policy = command.do === 'replace-policy' ? ` ${String(command.policy)}` : ''
        asked.push(`${command.do}${policy}`)
      }
      return { errno: 0, touched: 0, tasks: 1, tasksPeak: 1, tasksRefused: 0, steps: {} }
    },
  } as unknown as AgentLink
  const cgroup = { controllers: ['cpu'], cpuMs: () => 0, limit() {}, memoryKills: () => 0 }
  const vmm = {
    id: 'w1',
    processes: [{ pid: process.pid }],
    cgroup,
    memory: () => 1_000,
    ended: new Promise(() => undefined),
    async freeze() {
      states.push('freeze')
      await freeze?.()
    },
    async thaw() {
      states.push('thaw')
      await thaw?.()
    },
    kill: () => void states.push('kill'),
  }
  const save = async () => ({
    start: async () => playedMachine(asked),
    release: async () => undefined,
  })
  const forker = { prepare: async () => ({ save, remove: async () => undefined }) }
  return { agent, process: vmm, forker } as unknown as LiveMachine
}

const isUnavailable = (message: RegExp) => (error: MayflyError) => {
  assert.equal(error.code, 'UNAVAILABLE')
  assert.match(error.message, message)
  return true
}

interface Played {
  readonly answer?: () => Promise<object>
  readonly more?: object
  readonly resume?: () => Promise<unknown>
  readonly save?: () => Promise<void>
  /** Resolves once the memory of a capture is copied. */
  readonly copying?: () => Promise<void>
  readonly enclose?: 'fails'
}

/** Forks of a played guest, whose agent answers as `answer` does and freezes unless told otherwise. */
function played({
  answer = freezes,
  more = { position, isAtRest: true },
  resume,
  save,
  copying,
  enclose,
}: Played = {}) {
  const steps: string[] = []
  const agent = Object.defineProperties(
    { ask: answer },
    Object.getOwnPropertyDescriptors(more),
  ) as unknown as AgentLink
  const freezer = new JobFreezer(agent)
  const pauses = new NestedPauses({
    async freeze() {
      await freezer.freeze()
      steps.push('pause')
    },
    async thaw() {
      steps.push('resume')
      await resume?.()
    },
    async resumeDuring() {
      if (freezer.isFrozen) steps.push('lent')
      return async () => void (freezer.isFrozen && steps.push('taken back'))
    },
  })
  const machine = {
    release: async () => void steps.push('machine released'),
  } as unknown as LiveMachine
  const forker = {
    async prepare() {
      steps.push('prepare')
      return {
        async save() {
          steps.push(freezer.isFrozen ? 'save' : 'save with a running job')
          await save?.()
          return {
            async start() {
              steps.push('start')
              return machine
            },
            release: async () => void steps.push('release'),
          }
        },
        remove: async () => void steps.push('remove'),
      }
    },
  }
  const guest = { id: 'w1', agent, pauses, freezer }
  const forks = new GuestForks(forker, guest, () => () => {
    if (enclose === 'fails') throw new Error('no wall')
    return {} as Enclosure
  })
  const copy: GuestCopy = {
    isResumable: false,
    // oxlint-disable-next-line require-yield -- a copy without files
    async *files() {
      steps.push('copy')
      await copying?.()
      return { isWhole: true, lacks: [] }
    },
  }
  return { forks, captures: new GuestCaptures(copy, guest), steps }
}
