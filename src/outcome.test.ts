import assert from 'node:assert/strict'
import { test } from 'node:test'
import { job, verdict } from '../tests/fixtures/record.ts'
import { profileOf } from '../tests/sim/simulated-life.ts'
import { MayflyError, UnrecordedEndError } from './contract/error.ts'
import type { JobEntry, LifeResult } from './contract/pipeline.ts'
import { recordOutcome } from './outcome.ts'

test('A result whose text is cut has a warning with the bound of results', () => {
  const entry = { seq: 1, end: () => ({ seq: 2, hash: '' }) } as unknown as JobEntry
  const end = {
    status: 'ok',
    resultText: '""',
    encoding: 'text',
    cpuTime: 0,
    artifacts: [],
  } as const
  const warnings = (isPartial: boolean) =>
    recordOutcome(job(), verdict, profileOf(), { status: 'ok', end: { ...end, isPartial } }, entry)
      .warnings
  assert.match(
    warnings(true)?.join() ?? '',
    /cut\. Data returns whole up to \d+MB \(write more to a file/,
  )
  assert.equal(warnings(false), undefined)
})

test('An end that cannot be recorded says that the code may have run, if the job had a wall', () => {
  const entry: JobEntry = {
    seq: 1,
    end() {
      throw new MayflyError('DISK_FULL', 'Cannot write the record', { hint: 'Make room' })
    },
  }
  const record = (lived: LifeResult) => () =>
    recordOutcome(job(), verdict, profileOf(), lived, entry)
  const claim = { sandbox: { pool: 'none' } } as unknown as NonNullable<LifeResult['claim']>
  assert.throws(record({ status: 'ok', claim }), (thrown) => {
    assert.ok(thrown instanceof UnrecordedEndError)
    assert.deepEqual([thrown.code, thrown.hint], ['DISK_FULL', 'Make room'])
    return /the code of the job may have run/.test(thrown.message)
  })
  assert.throws(
    record({ status: 'unavailable' }),
    (thrown) => thrown instanceof MayflyError && !(thrown instanceof UnrecordedEndError),
  )
})
