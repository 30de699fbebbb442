import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Capability, SafeCapability } from '../contract/capability.ts'
import { capabilityJob } from './capability-job.ts'
import { Catalogue } from './catalogue.ts'
import { callInProcess } from './in-process.ts'

const safe = (run: SafeCapability['run']): SafeCapability => ({ name: 'own', isolated: false, run })

test('S4-5: the entry of a capability declares whether it is isolated', () => {
  const rows = new Catalogue().list()
  const isolated = rows.filter((row) => row.isolated).map(({ name }) => name)
  assert.deepEqual(isolated, [
    'ccos.network.http-fetch',
    'ccos.io.read-file',
    'ccos.io.write-file',
    'ccos.io.list-files',
  ])
  assert.ok(rows.some(({ name, isolated }) => name === 'math.add' && !isolated))
})

test('An own entry overrides a built-in one, and is frozen', () => {
  const catalogue = new Catalogue()
  const own = { name: 'math.add', isolated: true, code: 'return 1' } as const
  catalogue.add(own)
  const found = catalogue.get('math.add')
  assert.equal(found.isolated, true)
  assert.ok(Object.isFrozen(found) && found !== own)
  assert.throws(() => catalogue.get('math.modulo'), { code: 'NOT_FOUND' })
})

test('Source text is never declared safe, and malformed entries are refused', () => {
  const catalogue = new Catalogue()
  const wrong: readonly unknown[] = [
    { name: 'x', isolated: false, code: 'return 1' },
    { name: 'x', isolated: false, code: 'return 1', run: () => 1 },
    { name: 'x', isolated: true, run: () => 1 },
    { name: 'x', isolated: 'no', run: () => 1 },
    { name: 'x' },
    { name: '../x', isolated: false, run: () => 1 },
    { name: '', isolated: false, run: () => 1 },
  ]
  for (const one of wrong)
    assert.throws(() => catalogue.add(one as Capability), { code: 'INVALID' }, JSON.stringify(one))
})

test('S4-31: a safe capability answers in this process', () => {
  const catalogue = new Catalogue()
  const call = (name: string, ...args: readonly unknown[]) => {
    const found = catalogue.get(name)
    assert(!found.isolated)
    return callInProcess(found, args)
  }
  assert.equal(call('math.add', 1, 2, 3), 6)
  assert.equal(call('math.subtract', 1, 2), -1)
  assert.equal(call('math.multiply', 2, 3, 4), 24)
  assert.equal(call('math.divide', 1, 4), 0.25)
  assert.throws(() => call('math.add', 1, '2'), TypeError)
})

test('More arguments than fit on the stack are too large, and 50,000 are not', () => {
  const found = new Catalogue().get('math.add')
  assert(!found.isolated)
  const ones = (length: number) => Array.from({ length }, () => 1)
  assert.equal(callInProcess(found, ones(50_000)), 50_000)
  assert.throws(() => callInProcess(found, ones(200_000)), {
    code: 'TOO_LARGE',
    message: 'Cannot call "math.add" with 200000 arguments: 50000 are the maximum',
  })
})

test('S4-28: an answer of a capability that did more than compute is withheld', () => {
  assert.equal(
    callInProcess(
      safe(() => 7),
      [],
    ),
    7,
  )
  const made = Promise.resolve(1)
  for (const run of [
    () => clearTimeout(setTimeout(() => undefined, 1)),
    async () => 1,
    // Starts no asynchronous work, yet returns a promise.
    () => made,
  ])
    assert.throws(() => callInProcess(safe(run), []), { code: 'FORBIDDEN', message: /own/ })
})

test('A call of an isolated capability is a job: its arguments are the input', () => {
  const found = new Catalogue().get('ccos.network.http-fetch')
  assert(found.isolated)
  const { code, ...asked } = capabilityJob(found, ['https://a.example'])
  assert.match(code ?? '', /await fetch\(url/)
  assert.deepEqual(asked, { language: 'js', entry: 'body', input: ['https://a.example'] })
})
