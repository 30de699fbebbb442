import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import type { Enclosure } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import { GuestForks } from './forks.ts'
import { JobFreezer } from './job-freezer.ts'
import { NestedPauses } from './nested-pauses.ts'
import type { LiveMachine } from './source.ts'

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
    assert.deepEqual(steps, ['prepare', 'pause', 'resume', 'remove'])
  })

  test('waits for an answer that the guest owes at its pause, with the job frozen', async () => {
    const rest = async () => {
      await new Promise((then) => void setTimeout(then, 50))
      steps.push('answer')
    }
    const owing = { position, isAtRest: false, rest }
    const { forks, steps } = played({ more: owing })
    await forks.fork()
    assert.deepEqual(steps, ['prepare', 'pause', 'answer', 'save', 'resume'])
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

const isUnavailable = (message: RegExp) => (error: MayflyError) => {
  assert.equal(error.code, 'UNAVAILABLE')
  assert.match(error.message, message)
  return true
}

interface Played {
  readonly answer?: () => Promise<object>
  readonly more?: object
  readonly resume?: () => Promise<unknown>
  readonly save?: () => Promise<never>
  readonly enclose?: 'fails'
}

/** Forks of a played guest, whose agent answers as `answer` does and freezes unless told otherwise. */
function played({
  answer = freezes,
  more = { position, isAtRest: true },
  resume,
  save,
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
      return async () => undefined
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
  const forks = new GuestForks(forker, { id: 'w1', agent, pauses, freezer }, () => {
    if (enclose === 'fails') throw new Error('no wall')
    return {} as Enclosure
  })
  return { forks, steps }
}
