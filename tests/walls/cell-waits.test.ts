import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inCell, type Asked } from './in-cell.ts'

const later = 'const sleep = (ms) => new Promise((r) => setTimeout(r, ms));'

const waited: readonly (readonly [string, string, Asked?])[] = [
  ['setTimeout(() => console.log("timer"), 20)', 'timer\n'],
  [`${later} async function main() { await sleep(20); console.log('main') } main()`, 'main\n'],
  [
    `${later} (async () => { await sleep(5); console.log('a'); await sleep(5); console.log('b') })()`,
    'a\nb\n',
  ],
  [
    'let n = 0; const id = setInterval(() => { console.log(n); if (++n === 3) clearInterval(id) }, 5)',
    '0\n1\n2\n',
  ],
  [
    'setTimeout(() => console.log("module"), 20); export const a = 1',
    'module\n',
    { entry: 'module' },
  ],
  ['() => { setTimeout(() => console.log("function"), 20) }', 'function\n', { entry: 'function' }],
  [
    'exports.handler = async () => { setTimeout(() => console.log("handler"), 20) }',
    'handler\n',
    { entry: 'handler' },
  ],
  ['AbortSignal.timeout(60_000); console.log("quiet")', 'quiet\n'],
]

for (const [code, stdout, asked] of waited) {
  test(`a job that returns no value ends when it has no pending work: ${stdout.trim()}`, async () => {
    const ran = await inCell(code, asked)
    assert.deepEqual([ran.status, ran.resultText, ran.stdout], ['ok', 'null', stdout])
    assert.equal(ran.pending, undefined)
  })
}

test('the job waits for a call that it did not await, and the error of the call ends the job', async () => {
  const call = (name: string) =>
    name === 'good' ? Promise.resolve('7') : Promise.reject(new Error('refused'))
  const capabilities = ['good', 'bad']
  const told = await inCell('call("good").then((value) => console.log(value))', {
    call,
    capabilities,
  })
  assert.deepEqual([told.status, told.stdout], ['ok', '7\n'])
  const lost = await inCell('call("bad")', { call, capabilities })
  assert.deepEqual([lost.status, lost.error?.message], ['error', 'refused'])
})

test('the job does not wait for a fetch that it aborted, and waits for its other calls', async () => {
  const answers = [new Promise<string>(() => undefined), Promise.resolve('7')]
  const ran = await inCell(
    `${later} (async () => {
      try { await fetch('http://a.example/', { signal: AbortSignal.timeout(20) }) }
      catch ({ name }) { console.log(name) }
      await sleep(5)
      call('b').then((value) => console.log(value))
    })()`,
    { call: () => answers.shift()!, capabilities: ['mayfly.fetch', 'b'] },
  )
  assert.deepEqual([ran.status, ran.stdout, ran.pending], ['ok', 'TimeoutError\n7\n', undefined])
})

test('a job that returns a value ends then, and reports how many timers and calls were dropped', async () => {
  const never = () => new Promise<string>(() => undefined)
  const code =
    'setTimeout(() => 1, 1e5); setInterval(() => 1, 1e5); clearTimeout(setTimeout(() => 1, 1)); call("a"); return 5'
  const ran = await inCell(code, { call: never, capabilities: ['a'] })
  assert.deepEqual([ran.status, ran.resultText], ['ok', '5'])
  assert.deepEqual(ran.pending, { timers: 2, promises: 1 })
  assert.equal((await inCell('return 5')).pending, undefined)
})

test('an error thrown in a timer ends the job that waits for it', async () => {
  const { status, error } = await inCell(
    'setTimeout(() => { null.x }, 5); setTimeout(() => 1, 1e5)',
  )
  assert.deepEqual([status, error?.name], ['error', 'TypeError'])
})
