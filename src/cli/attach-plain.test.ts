import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { AttachedServer } from '../gateway/local/client.ts'
import type { Outcome } from '../contract/outcome.ts'
import { attachedRunner, OwnRunNeeded } from './attachment.ts'
import { runBy } from './attach-plain.ts'

/** Server that takes a job or declines it, and the calls that rights got. */
function foundServer(takes: boolean) {
  const calls: string[] = []
  const server = {
    pid: 1,
    async run(_job, { taken }) {
      if (!takes) return undefined
      taken?.()
      return {} as Outcome
    },
    close: () => void calls.push('close'),
  } as Partial<AttachedServer> as AttachedServer
  const note = (name: string) => () => void calls.push(name)
  const rights = { restore: note('restore'), drop: note('drop') }
  return { found: { server, rights, again: async () => server }, calls }
}

const job = { code: 'return 1', name: 'a.js' }
const signal = new AbortController().signal

suite('A run by a server that was found', () => {
  test('A job that the server declines is run by the command itself, with its rights of before', async () => {
    const { found, calls } = foundServer(false)
    const run = async () => void (await attachedRunner()!.run(job, [], { signal }))
    assert.equal(await runBy(found, { loaded: null }, run), false)
    assert.deepEqual(calls, ['restore', 'close'])
    assert.equal(attachedRunner(), undefined)
  })

  test('Attack: a job that the server accepted is not run again, though a part is missing after it', async () => {
    const { found, calls } = foundServer(true)
    const run = async () => {
      await attachedRunner()!.run(job, [], { signal })
      throw new OwnRunNeeded('a part is missing')
    }
    await assert.rejects(runBy(found, { loaded: null }, run), OwnRunNeeded)
    assert.deepEqual(calls, ['drop', 'close'])
  })
})
