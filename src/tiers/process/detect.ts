import { existsSync } from 'node:fs'
import { MayflyError, messageOf } from '../../contract/error.ts'
import type { Language } from '../../contract/job.ts'
import type { Availability, Provider } from '../../contract/provider.ts'
import { strengthOf } from '../../contract/tier.ts'
import type { Wall } from '../../warden/protocol.ts'
import { assertAnswers, assertJailed, type Probe } from '../../warden/worker-proof.ts'
import { spareDiskBytes, type Rack } from './rack.ts'

interface Found {
  readonly availability: Availability
  /** Languages that are not there. */
  readonly without: readonly Language[]
}

const PYTHON = '/usr/bin/python3'

const answers: readonly Probe[] = [
  { language: 'js', entry: 'body', code: 'return input * 2', inputText: '21', expect: '42' },
  {
    language: 'node',
    entry: 'module',
    code: `import { sep } from 'node:path'\nexport default (input) => sep + input`,
    inputText: '42',
    expect: '"/42"',
  },
]
const inPython: Probe = {
  language: 'python',
  entry: 'function',
  code: 'import json\ndef main(input): return json.loads(str(input * 2))',
  inputText: '21',
  expect: '42',
}

/**
 * Runs a guest of each language to its end, lets a program knock at what the filter forbids, and looks at what holds
 * the wall. Throws where there is none; a wall with less than namespaces, filter and bounds is one, but not this strong.
 */
export async function probe(provider: Provider, rack: Rack): Promise<Found> {
  const { wall } = await rack.take('node', spareDiskBytes)
  try {
    assertWay(provider, wall.wall)
    await assertJailed(wall)
  } finally {
    void wall.kill()
  }
  for (const answer of answers) await assertAnswers(provider, answer)
  const python = await failureOf(provider, inPython)
  const { layers, missing, idleBytes, took } = wall.wall
  const cost = { spareMiB: Math.ceil(idleBytes / 2 ** 20), refillMs: Math.ceil(took) }
  const strength = isWhole(wall.wall) ? strengthOf.process : strengthOf.isolate
  const gone = python === undefined ? [] : [`python: ${python}`]
  return {
    availability: { available: true, strength, cost, layers, missing: [...missing, ...gone] },
    without: python === undefined ? [] : ['python'],
  }
}

/** The warden takes another way where the one asked for cannot be had; this provider is that way or nothing. */
function assertWay({ name }: Provider, { way }: Wall): void {
  if (way === name) return
  throw new MayflyError('NO_JAIL', `Cannot make a wall by "${name}" here`, {
    hint: name === 'bubblewrap' ? 'Install bubblewrap, and allow user namespaces' : '',
  })
}

async function failureOf(provider: Provider, asked: Probe): Promise<string | undefined> {
  if (!existsSync(PYTHON)) return `there is no ${PYTHON}`
  try {
    await assertAnswers(provider, asked)
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

/** Namespaces for the network, the processes and the files; without them a program is held by filters alone. */
function isWhole({ layers }: Wall): boolean {
  const needed = ['network namespace', 'pid namespace', 'empty root', 'seccomp']
  return needed.every((layer) => layers.includes(layer))
}
