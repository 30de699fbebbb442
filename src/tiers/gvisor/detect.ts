import { release } from 'node:os'
import { MayflyError } from '../../contract/error.ts'
import type { Language } from '../../contract/job.ts'
import type { Availability, Provider } from '../../contract/provider.ts'
import { strengthOf } from '../../contract/tier.ts'
import { detectLanguages, versionIn } from '../../walls/detected-languages.ts'
import { assertAnswers, type Probe } from '../../walls/proof.ts'
import { spareDiskBytes, usualCalls, type ProgramSpares } from '../../walls/program-spares.ts'

export interface GuestFacts {
  readonly availability: Availability
  /** Languages that are missing on this machine. */
  readonly without: readonly Language[]
}

/** Both print the version of the language and of the kernel they see. */
const programs: Readonly<Record<'node' | 'python', Probe>> = {
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
    code: `import os, sys
print(sys.version.split()[0], os.uname().release)
def main(input): return input * 2`,
    inputText: '21',
    expect: '42',
  },
}

/**
 * Runs a guest of each language to its end. The kernel release that the guest sees proves that the sentry answers its
 * calls and not the host's kernel. Throws if no such wall starts.
 */
export async function probe(provider: Provider, spares: ProgramSpares): Promise<GuestFacts> {
  const spec = { language: 'node', disk: spareDiskBytes, calls: usualCalls } as const
  const { wall } = await spares.take(spec, { isShort: true, isRare: true })
  void wall.kill()
  const { features, missing, without } = await detectLanguages((language) =>
    versionBy(provider, programs[language]),
  )
  const { layers, idleBytes, took } = wall.wall
  return {
    availability: {
      available: true,
      strength: strengthOf.gvisor,
      cost: { spareMiB: Math.ceil(idleBytes / 2 ** 20), refillMs: Math.ceil(took) },
      layers,
      missing: [...wall.wall.missing, ...missing],
      features,
    },
    without,
  }
}

/** Throws MayflyError NO_JAIL if the guest sees the release of this machine's kernel. */
async function versionBy(provider: Provider, guest: Probe): Promise<string> {
  const [version = 'unknown', kernel = ''] = (await assertAnswers(provider, guest))
    .trim()
    .split(' ')
  if (kernel === '' || kernel === release())
    throw new MayflyError(
      'NO_JAIL',
      'Cannot use the sentry: a guest saw the kernel of this machine',
    )
  return versionIn(version)
}
