import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { test } from 'node:test'
import type { Provider, Sandbox, Task, TaskEnd } from '../../contract/provider.ts'
import { createMockProvider } from '../../tiers/mock/provider.ts'
import { tryWalls } from './try-walls.ts'

const require = createRequire(import.meta.url)

test('A wall that contains nothing is detected: it fails every trial', async () => {
  const held = await tryWalls(leaky)
  assert.deepEqual(
    held.filter((one) => one.held).map(({ wall }) => wall),
    [],
  )
  assert.equal(held.length, 8)
  assert.ok(held.every(({ how }) => how.endsWith('; its last guest ended as ok')))
})

test('A wall that throws during a trial fails it, with the reason', async () => {
  const broken: Provider = { ...leaky, launch: () => Promise.reject(new Error('no room')) }
  const held = await tryWalls(broken)
  assert.ok(held.every((one) => !one.held && one.how.endsWith(': no room')))
})

test('A mock is not tried', async () => {
  assert.deepEqual(await tryWalls(createMockProvider({ environment: 'test' })), [])
})

/** Runs terminating code in this process, and reports success for code that never ends. */
const leaky: Provider = {
  name: 'leaky',
  tier: 'none',
  languages: ['js'],
  enforces: [],
  tightens: [],
  can: [],
  detect: () => Promise.resolve({ available: true, strength: 0, layers: [], missing: [] }),
  launch: () => Promise.resolve(sandbox()),
}

function sandbox(): Sandbox {
  return { run, [Symbol.asyncDispose]: () => Promise.resolve() } as unknown as Sandbox
}

const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor as new (
  ...words: string[]
) => (...values: unknown[]) => Promise<unknown>

/** Modules of the host; sockets ignore errors after the trial ended. */
function load(name: string): unknown {
  return name.endsWith('net')
    ? { connect: (...where: Parameters<typeof connect>) => connect(...where).on('error', () => {}) }
    : require(name)
}

async function run({ code, inputText }: Task): Promise<TaskEnd> {
  const ended = { status: 'ok', encoding: 'json', cpuTime: 0, artifacts: [] } as const
  if (/for \(;;\)|again|Object\.prototype|new Promise/.test(code))
    return { ...ended, resultText: '1' }

  const guest = new AsyncFunction(
    'input',
    'call',
    'require',
    'load',
    code.replaceAll('import(', 'load('),
  )
  const result = await guest(JSON.parse(inputText), () => {}, load, load)
  return { ...ended, resultText: JSON.stringify(result ?? null) }
}
