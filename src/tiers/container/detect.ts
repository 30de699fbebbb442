import { MayflyError } from '../../contract/error.ts'
import type { Language } from '../../contract/job.ts'
import type { Availability, Provider } from '../../contract/provider.ts'
import { strengthOf } from '../../contract/tier.ts'
import type { WardenClient } from '../../walls/client.ts'
import { detectLanguages, versionIn } from '../../walls/detected-languages.ts'
import { assertAnswers, assertJailed, type Probe } from '../../walls/proof.ts'
import { spareDiskBytes, usualCalls, type ProgramSpares } from '../../walls/program-spares.ts'
import { probeTenant } from '../../walls/worker-spares.ts'

export interface ContainerFacts {
  readonly availability: Availability
  readonly without: readonly Language[]
}

/** Bounds of a probe wall that never gets a job: only the mechanisms that enforce them matter. */
const bounds = { tenant: probeTenant, memory: 2 ** 27, deadline: 5_000, processes: 16 } as const

const programs: Readonly<Record<'node' | 'python', Probe>> = {
  node: {
    language: 'node',
    entry: 'module',
    code: `import { sep } from 'node:path'
console.log(process.versions.node)
export default (input) => sep + input`,
    inputText: '42',
    expect: '"/42"',
  },
  python: {
    language: 'python',
    entry: 'function',
    code: `import sys
print(sys.version.split()[0])
def main(input): return input * 2`,
    inputText: '21',
    expect: '42',
  },
}

/**
 * Starts a container, has its program probe the calls that the filter forbids, bounds it, and runs a guest of each
 * language to its end. Throws if no such wall starts, or if its number of processes is not bounded.
 */
export async function probe(
  provider: Provider,
  spares: ProgramSpares,
  warden: Pick<WardenClient, 'claim'>,
): Promise<ContainerFacts> {
  const spec = { language: 'node', disk: spareDiskBytes, calls: usualCalls } as const
  const { wall } = await spares.take(spec, { isShort: true, isRare: true })
  try {
    await assertJailed(wall)
    const { enforced } = await warden.claim(wall.wall.id, bounds)
    if (enforced.processes === 'none')
      throw new MayflyError(
        'NO_JAIL',
        'Cannot use containers: their number of processes is not bounded',
      )
  } finally {
    void wall.kill()
  }
  const { features, missing, without } = await detectLanguages(async (language) =>
    versionIn(await assertAnswers(provider, programs[language])),
  )
  const { layers, idleBytes, took } = wall.wall
  return {
    availability: {
      available: true,
      strength: strengthOf.container,
      cost: { spareMiB: Math.ceil(idleBytes / 2 ** 20), refillMs: Math.ceil(took) },
      layers,
      missing: [...wall.wall.missing, ...missing],
      features,
    },
    without,
  }
}
