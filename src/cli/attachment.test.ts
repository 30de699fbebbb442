import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JobRequest } from '../contract/job.ts'
import { attachedRunner, holdAttachment, OwnRunNeeded } from './attachment.ts'

test('A job that its server declined is refused by its size if that is why, since its standard input is read already', async () => {
  const declining = async (given: Partial<JobRequest>) => {
    const first = { pid: 1, run: async () => undefined, close: () => undefined } as never
    const rest = { loaded: null, isRoot: false, dropRights: () => undefined }
    holdAttachment({ first, again: async () => undefined, ...rest })
    await using runner = attachedRunner()!
    const caller = { signal: new AbortController().signal, tap: undefined, planned: undefined }
    const request: JobRequest = { code: '1', name: 'a.py', ...given }
    await runner.run(request, [], caller)
  }
  const stdin = (content: string) => ({ stdin: { content, encoding: 'utf8' } }) as const
  await assert.rejects(declining(stdin('\0'.repeat(12 * 2 ** 20))), (error: any) => {
    assert.deepEqual([error.code, /--once/.test(error.hint)], ['TOO_LARGE', true])
    return true
  })
  await assert.rejects(declining(stdin('typed')), { code: 'OVERLOADED' })
  await assert.rejects(declining({}), OwnRunNeeded)
})
