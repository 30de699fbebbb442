import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { jobRequest } from '../contract/job.ts'
import { requestOf } from './run-request.ts'

const FILE = import.meta.filename

test('An empty value of a flag, as of an unset shell variable, is an error and not the default', async () => {
  const plain = await requestOf(FILE, [], {})
  assert.deepEqual([plain.limits, 'schedule' in plain], [{}, false])
  for (const [flag, path] of [
    ['schedule', 'schedule'],
    ['provider', 'provider'],
    ['image', 'image'],
    ['timeout', 'limits.timeout'],
    ['memory', 'limits.memory'],
    ['disk', 'limits.disk'],
    ['output', 'limits.output'],
    ['artifactsMax', 'limits.artifacts'],
  ] as const) {
    const read = jobRequest.safeParse(await requestOf(FILE, [], { [flag]: '' }))
    assert.equal(read.error?.issues[0]?.path.join('.'), path)
  }
  await assert.rejects(
    requestOf(FILE, [], { outputSchema: '' }),
    (error) => error instanceof MayflyError && error.code === 'USAGE',
  )
})
