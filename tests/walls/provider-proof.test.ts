import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { tmpdir, version } from 'node:os'
import type { Provider, Task, TaskEnd, TaskIo } from '../../src/contract/provider.ts'
import { bootId } from '../../src/lib/owner.ts'
import { proveTier } from '../../src/provider-modules/prove.ts'
import { makeProcesses } from '../conformance/process.ts'
import type { Made } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'

/** The proof for provider modules, run on a working wall. */
suite('The proof of a tier', () => {
  let made: Made
  before(async () => {
    made = await makeProcesses('embedded')
    const found = await made.provider.detect()
    assert.ok(found.available && found.strength === 3)
  })
  after(async () => {
    await made.provider.close?.()
    await made.close()
  })
  const claiming = (members: Partial<Provider>): Provider => ({
    ...made.provider,
    languages: ['node'],
    ...members,
    async launch(profile, clock) {
      const sandbox = await made.provider.launch({ ...profile, tier: 'process' }, clock)
      const run = sandbox.run.bind(sandbox)
      const told = async (task: Task, io: TaskIo) => (last = await run(task, io))
      return Object.assign(sandbox, { run: told })
    },
  })
  let last: TaskEnd | undefined

  test('S4-15: a process wall passes the proof of tier "process"', async () => {
    await proveTier(claiming({}), [tmpdir()])
  })

  test('S4-15: a process wall that claims its own kernel fails the proof', async () => {
    await assert.rejects(proveTier(claiming({ tier: 'microvm' }), [tmpdir()]), {
      code: 'PROVIDER_UNPROVED',
      message: 'it claims tier "microvm", and its guests run on the kernel of this machine',
    })
    // A wall may mount another file in place of its boot id.
    assert.equal(last?.status, 'ok')
    assert.ok([bootId(), version()].includes(JSON.parse(last.resultText)), last.resultText)
    await assert.rejects(proveTier(claiming({ tier: 'microvm', languages: ['js'] }), [tmpdir()]), {
      code: 'PROVIDER_UNPROVED',
      message: 'it claims tier "microvm", and no guest in node or python can look at its kernel',
    })
  })
})
