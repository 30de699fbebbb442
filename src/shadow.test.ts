import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endOf } from '../tests/doors/http-door.ts'
import { jobOf } from '../tests/fixtures/profile-world.ts'
import type { Job, JobRequest } from './contract/job.ts'
import type { Outcome } from './contract/outcome.ts'
import { withShadow } from './shadow.ts'

const explain = [
  { field: 'controls.network', value: 'none', because: 'default' },
  { field: 'controls.files', value: 'none', because: 'default' },
  { field: 'controls.capabilities', value: 'none', because: 'default' },
]
const grants = (field: string, value: unknown) =>
  explain.map((row) => (row.field === field ? { ...row, value } : row))

interface Case {
  readonly asked?: JobRequest
  readonly first?: Partial<Outcome>
  readonly second?: Partial<Outcome>
  readonly thrown?: Error
}

async function compare({ asked = {}, first = {}, second = {}, thrown }: Case) {
  const job = jobOf(asked)
  const ran: Job[] = []
  const recorded: unknown[] = []
  const common = { provider: 'isolated-vm', profile: { digest: 'sha256:', explain } }
  const before = endOf(job, { ...common, result: 1, ...first })
  const outcome = await withShadow(job, 'process', before, {
    road: async (other) => {
      ran.push(other)
      if (thrown) throw thrown
      return endOf(other, { provider: 'embedded', result: 1, ...second })
    },
    recordComparison: (fields) => void recorded.push(fields),
    date: () => 0,
  })
  const { shadow, ...rest } = outcome
  assert.deepEqual(rest, before, 'the first answer stays as it was')
  return { shadow: shadow!, ran, recorded }
}

test('The second run is exactly on its tier, with an id and lines of its own, and its end is compared', async () => {
  const { shadow, ran, recorded } = await compare({
    asked: { provider: 'isolated-vm', idempotent: true },
  })
  const [second] = ran
  assert.deepEqual(
    [second?.asked.tier, second?.asked.provider, second?.asked.shadow, second?.asked.idempotent],
    ['process', undefined, undefined, false],
  )
  assert.notEqual(second?.id, 'exec_1')
  assert.deepEqual([shadow.ran, shadow.same, shadow.differences], [true, true, []])
  assert.deepEqual(recorded, [
    { shadow: second?.id, tier: 'process', provider: 'embedded', same: true, differs: [] },
  ])
})

const file = (sha256: string) => ({ path: 'a.txt', size: 1, sha256 })

for (const [what, first, second, difference] of [
  ['the status', {}, { status: 'error' }, { field: 'status', first: '"ok"', second: '"error"' }],
  [
    'a part of the result',
    { result: { a: [1, 2], b: 1 } },
    { result: { b: 1, a: [1, 3] } },
    { field: 'result', path: '/a/1', first: '2', second: '3' },
  ],
  [
    'a key of one result alone',
    { result: {} },
    { result: { constructor: 1 } },
    { field: 'result', path: '/constructor', first: '', second: '1' },
  ],
  ['the output', { stdout: 'a' }, {}, { field: 'stdout', first: '"a"', second: '""' }],
  [
    'a file',
    { artifacts: [file('1')] },
    { artifacts: [file('2')] },
    { field: 'artifacts', path: '/a.txt', first: '"1"', second: '"2"' },
  ],
] as const satisfies readonly (readonly [string, Partial<Outcome>, Partial<Outcome>, object])[])
  test(`A difference in ${what} is reported with its path and both values`, async () => {
    const { shadow } = await compare({ first, second })
    assert.equal(shadow.same, false)
    assert.deepEqual(shadow.differences[0], difference)
  })

test('The order of keys is no difference', async () => {
  const { shadow } = await compare({
    first: { result: { a: 1, b: 2 } },
    second: { result: { b: 2, a: 1 } },
  })
  assert.equal(shadow.same, true)
})

test('A job that can have effects outside its wall is run a second time only if it was declared idempotent', async () => {
  for (const rows of [
    grants('controls.network', 'open'),
    grants('controls.files', { read: ['/data'], write: [] }),
    grants('controls.capabilities', ['mail.send']),
    [],
  ]) {
    const first = { profile: { digest: 'sha256:', explain: rows } }
    const { shadow, ran } = await compare({ first })
    assert.deepEqual([shadow.ran, ran.length], [false, 0])
    assert.match(shadow.because ?? '', /was not declared idempotent/)
    assert.equal((await compare({ first, asked: { idempotent: true } })).ran.length, 1)
  }
})

test('A capability that stays within the wall counts as no effect outside', async () => {
  const explain = grants('controls.capabilities', ['webassembly'])
  const { shadow } = await compare({ first: { profile: { digest: 'sha256:', explain } } })
  assert.equal(shadow.ran, true)
})

test('A job that did not run has nothing to compare', async () => {
  for (const status of ['blocked', 'unavailable', 'cancelled', 'failed'] as const)
    assert.equal((await compare({ first: { status } })).ran.length, 0)
})

test('A second run that found no wall, or that broke, is reported, and changes nothing else', async () => {
  const message = 'no wall'
  const none = await compare({
    second: { status: 'unavailable', provider: undefined, error: { code: 'X', message } } as never,
  })
  assert.deepEqual([none.shadow.ran, none.shadow.because], [false, message])
  assert.equal(none.recorded.length, 0)
  const broken = await compare({ thrown: new Error('no record') })
  assert.deepEqual([broken.shadow.ran, broken.shadow.because], [false, 'no record'])
})

test('The report of a difference is short, however large the difference', async () => {
  const deep = (leaf: unknown) => {
    let value = leaf
    for (let n = 0; n < 400; n++) value = { ['k'.repeat(50)]: value }
    return value
  }
  const { shadow } = await compare({
    first: { result: deep('a'.repeat(100_000)) },
    second: { result: deep('b'.repeat(100_000)) },
  })
  assert.ok(JSON.stringify(shadow).length < 2000)
})
