import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { callClasses, type CallClass } from '../../../contract/calls.ts'
import { agentCalls } from '../../../agent-wire/numbers.ts'
import { MayflyError } from '../../../contract/error.ts'
import { AgentCalls } from './agent-calls.ts'
import type { AgentLink, AgentQuestion } from '../../../agent-wire/agent-link.ts'
import type { PolicyCompiler } from './policy-compiler.ts'

suite('Classes of calls that an agent closes', () => {
  test('The wire has the classes of the contract, in its order', () => {
    assert.deepEqual(agentCalls, callClasses)
  })

  test('A request closes all of its classes, with one profile behind the other steps', async () => {
    const { calls, asked } = played({})
    const closed = await calls.close([{ afterMs: 0, allow: ['network'] }])
    assert.deepEqual(asked, ['lower-limit', 'close-writing', 'replace-policy network'])
    assert.deepEqual(closed, {
      allowed: ['network'],
      planned: 0,
      answers: { exec: 'EACCES', process: 'EAGAIN', write: 'EROFS', outside: 'EACCES' },
      trust: 'guest',
      killed: 3,
    })
    await calls.close([{ afterMs: 0, allow: callClasses }])
    assert.equal(asked.length, 3)
    const rest = await calls.close([{ afterMs: 0, allow: ['exec', 'write'] }])
    assert.deepEqual([asked[3], rest.allowed], ['replace-policy ', []])
  })

  test('Without a profile it closes writing and processes, and leaves the others as they were', async () => {
    const { calls, asked } = played({ confines: false })
    assert.deepEqual(calls.closable, ['process', 'write'])
    const { allowed, answers } = await calls.close([{ afterMs: 0, allow: ['write', 'exec'] }])
    assert.deepEqual([allowed, answers], [['write'], { process: 'EAGAIN' }])
    assert.deepEqual(asked, ['lower-limit'])
  })

  test('A step that the guest refuses, and a profile that cannot be made, reject', async () => {
    for (const refuses of ['lower-limit', 'close-writing', 'replace-policy', 'compile']) {
      const { calls, asked } = played({ refuses })
      const closing = calls.close([{ afterMs: 0, allow: [] }])
      await assert.rejects(closing, { code: 'UNAVAILABLE' }, refuses)
      if (refuses === 'compile') assert.deepEqual(asked, [])
    }
  })

  test('Phases of a later time are refused: a guest keeps no plan', async () => {
    const { calls, asked } = played({})
    await assert.rejects(calls.close([{ afterMs: 5, allow: [] }]), { code: 'UNAVAILABLE' })
    assert.deepEqual(asked, [])
  })
})

/** An agent that answers each phase command, and a compiler whose profile is the list of the open classes. */
function played({
  confines = true,
  refuses,
}: {
  readonly confines?: boolean
  readonly refuses?: string
}) {
  const asked: string[] = []
  const agent = {
    can: () => confines,
    ask(message: AgentQuestion) {
      assert.ok(message.kind === 'phase')
      const { command } = message
      const policy = command.do === 'replace-policy' ? ` ${String(command.policy)}` : ''
      if (command.do === 'replace-policy')
        assert.deepEqual(
          String(command.policy).split(' ').filter(Boolean),
          callClasses.filter((name) => !command.closes.includes(name)),
        )
      asked.push(`${command.do}${policy}`)
      const isRefused = refuses !== undefined && asked.at(-1)!.startsWith(refuses)
      return Promise.resolve({ errno: isRefused ? 13 : 0, touched: 3 })
    },
  }
  const policies = {
    compile(open: readonly CallClass[]) {
      if (refuses === 'compile') return Promise.reject(new MayflyError('UNAVAILABLE', 'none'))
      return Promise.resolve(Buffer.from(open.join(' ')))
    },
  }
  const calls = new AgentCalls(agent as unknown as AgentLink, {
    policies: policies as unknown as PolicyCompiler,
    hasProfile: confines,
  })
  return { calls, asked }
}
