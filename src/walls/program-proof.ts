import { existsSync } from 'node:fs'
import { release } from 'node:os'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import type { Strength } from '../contract/tier.ts'
import type { Wall } from '../contract/warden.ts'
import type { WallHandle } from './handle.ts'
import { spareDiskBytes, usualCalls, type ProgramSpares } from './program-spares.ts'
import { assertAnswers, type Probe } from './proof.ts'
import { probeTenant } from './worker-spares.ts'

/** Result of the proof of a provider of programs. */
export interface ProgramProof {
  readonly availability: Availability
  /** Languages that are missing on this machine. */
  readonly without: readonly Language[]
}

/** Languages of a provider of programs: versions of those that run, and causes for those that do not. */
interface DetectedLanguages {
  readonly features: readonly string[]
  readonly missing: readonly string[]
  readonly without: readonly Language[]
}

const PYTHON = '/usr/bin/python3'
const BASH = '/bin/bash'

/** Bounds of a probe wall that never gets a job: only the mechanisms that enforce them matter. */
export const probeBounds = {
  tenant: probeTenant,
  memory: 2 ** 27,
  deadline: 5_000,
  processes: 16,
} as const

/** Both print the version of the language and of the kernel they see. */
export const programProbes: Readonly<Record<'node' | 'python', Probe>> = {
  node: {
    language: 'node',
    entry: 'module',
    code: `import os from 'node:os'
import { sep } from 'node:path'
console.log(process.versions.node, os.release())
export default (input) => sep + input`,
    inputText: '42',
    expect: '"/42"',
  },
  python: {
    language: 'python',
    entry: 'function',
    code: `import json, os, sys
print(sys.version.split()[0], os.uname().release)
def main(input): return json.loads(str(input * 2))`,
    inputText: '21',
    expect: '42',
  },
}

/** A guest of `js`. */
export const cellProbe: Probe = {
  language: 'js',
  entry: 'body',
  code: 'return input * 2',
  inputText: '21',
  expect: '42',
  isRare: true,
}

/** Limit of a probe of `js`, under emulation on a busy machine. */
const CELL_MS_MAX = 60_000

/** Reason why a guest of `js` does not run here; undefined if it does. */
export async function whyNoCells(provider: Provider): Promise<string | undefined> {
  try {
    await assertAnswers(provider, { ...cellProbe, lifeMsMax: CELL_MS_MAX })
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

/** Starts a wall for programs, and ends it after a look. Throws if no wall starts. */
export async function probeWall<T>(
  spares: ProgramSpares,
  look: (wall: WallHandle) => Promise<T>,
): Promise<{ readonly wall: Wall; readonly seen: T }> {
  const spec = { language: 'node', disk: spareDiskBytes, calls: usualCalls } as const
  const { wall } = await spares.take(spec, { isShort: true, isRare: true })
  try {
    return { wall: wall.wall, seen: await look(wall) }
  } finally {
    void wall.kill()
  }
}

/** Throws where Node does not run in the wall; Python may be missing. `versionOf` runs a guest that prints its version. */
export async function detectLanguages(
  provider: Provider,
  versionOf: typeof versionBy,
): Promise<DetectedLanguages> {
  const features = [`node ${await versionOf(provider, programProbes.node)}`]
  const missing: string[] = []
  const without: Language[] = []
  try {
    if (!existsSync(PYTHON)) throw new Error(`there is no ${PYTHON}`)
    features.push(`python ${await versionOf(provider, programProbes.python)}`)
  } catch (error) {
    missing.push(`python: ${messageOf(error)}`)
    without.push('python')
  }
  if (!existsSync(BASH)) without.push('bash')
  return { features, missing, without }
}

/** Runs a guest and returns the version it prints. */
export async function versionBy(provider: Provider, probe: Probe): Promise<string> {
  return versionIn(await assertAnswers(provider, probe))
}

/**
 * Runs a guest and returns the version it prints. Throws MayflyError NO_JAIL if the guest sees the release of this
 * machine's kernel, which answered its system calls then.
 */
export async function versionOnOtherKernel(provider: Provider, probe: Probe): Promise<string> {
  const printed = (await assertAnswers(provider, probe)).trim()
  const [, kernel = ''] = printed.split(' ')
  if (kernel !== '' && kernel !== release()) return versionIn(printed)
  const message = `Cannot use "${provider.name}": a guest saw the kernel of this machine`
  throw new MayflyError('NO_JAIL', message)
}

/** Availability by a wall that was started for the proof, and the languages found in it. */
export function availableBy(
  { layers, missing, idleBytes, took }: Wall,
  strength: Strength,
  languages: Pick<DetectedLanguages, 'features' | 'missing'>,
): Availability & { readonly available: true } {
  return {
    available: true,
    strength,
    cost: { spareMiB: Math.ceil(idleBytes / 2 ** 20), refillMs: Math.ceil(took) },
    layers,
    missing: [...missing, ...languages.missing],
    features: languages.features,
  }
}

/** Version that a guest printed first. */
function versionIn(printed: string): string {
  return /^\d+\.\d+\.\d+\S{0,16}/.exec(printed)?.[0] ?? 'unknown'
}
