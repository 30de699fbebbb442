import { release } from 'node:os'
import { MayflyError } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import type { Strength } from '../contract/tier.ts'
import type { Wall } from '../contract/warden.ts'
import type { DetectedLanguages } from './detected-languages.ts'
import { assertAnswers, type Probe } from './proof.ts'

/** Result of the proof of a provider of programs. */
export interface ProgramProof {
  readonly availability: Availability
  /** Languages that are missing on this machine. */
  readonly without: readonly Language[]
}

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
