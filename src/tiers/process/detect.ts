import { MayflyError } from '../../contract/error.ts'
import type { Language } from '../../contract/job.ts'
import type { Availability, Provider } from '../../contract/provider.ts'
import { sharedLayout } from '../../contract/shared-layout.ts'
import { strengthOf } from '../../contract/tier.ts'
import type { WardenClient } from '../../walls/client.ts'
import type { BoundMechanisms, Wall } from '../../contract/warden.ts'
import { detectLanguages, versionIn } from '../../walls/detected-languages.ts'
import { probeTenant } from '../../walls/worker-spares.ts'
import { assertAnswers, assertJailed, type Probe } from '../../walls/proof.ts'
import { spareDiskBytes, usualCalls, type ProgramSpares } from '../../walls/program-spares.ts'

interface Found {
  readonly availability: Availability
  readonly layers: readonly string[]
  /** Languages that are missing on this machine. */
  readonly without: readonly Language[]
  /** Whether the rate of reads from the disk below /usr can be limited: not every block device supports that. */
  readonly bindsIo: boolean
}

/** Bounds for a wall that is killed before it has a job: only the mechanisms that hold them matter. */
const bounds = {
  tenant: probeTenant,
  memory: 2 ** 27,
  deadline: 5_000,
  io: 2 ** 24,
  processes: 16,
} as const

const inJs: Probe = {
  language: 'js',
  entry: 'body',
  code: 'return input * 2',
  inputText: '21',
  expect: '42',
  isRare: true,
}

/** Probes of whole programs also print the version of their language. */
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
    code: `import json, sys
print(sys.version.split()[0])
def main(input): return json.loads(str(input * 2))`,
    inputText: '21',
    expect: '42',
  },
}

/**
 * Runs a guest of each language to its end, has a program probe the calls that the filter forbids, and checks the layers
 * of the wall. `isForked`: it may fork programs from templates. Throws if there is no wall; one without namespaces, filter or bounds is available, but not this strong.
 */
export async function probe(
  provider: Provider,
  spares: ProgramSpares,
  warden: Pick<WardenClient, 'claim'>,
  isForked: boolean,
): Promise<Found> {
  const spec = { language: 'node', disk: spareDiskBytes, calls: usualCalls } as const
  const { wall } = await spares.take(spec, { isShort: true, isRare: true })
  let held: BoundMechanisms
  try {
    assertMechanism(provider, wall.wall)
    await assertJailed(wall)
    held = (await warden.claim(wall.wall.id, bounds)).enforced
  } finally {
    void wall.kill()
  }
  await assertAnswers(provider, inJs)
  const { features, missing, without } = await detectLanguages(async (language) =>
    versionIn(await assertAnswers(provider, programs[language])),
  )
  const { layers, idleBytes, took } = wall.wall
  return {
    availability: {
      available: true,
      strength: isWhole(wall.wall, held) ? strengthOf.process : strengthOf.isolate,
      cost: { spareMiB: Math.ceil(idleBytes / 2 ** 20), refillMs: Math.ceil(took) },
      layers,
      missing: [
        ...wall.wall.missing,
        ...missing,
        ...(isForked && layers.includes('empty root') && !without.includes('python')
          ? [sharedLayout]
          : []),
      ],
      features,
    },
    layers,
    without,
    bindsIo: held.io === 'cgroup',
  }
}

/** The warden falls back to another jail where the requested one cannot be had; this provider is that one or nothing. */
function assertMechanism({ name }: Provider, { mechanism }: Wall): void {
  if (mechanism === name) return
  throw new MayflyError('NO_JAIL', `Cannot make a wall by "${name}" here`, {
    hint: name === 'bubblewrap' ? 'Install bubblewrap, and allow user namespaces' : '',
  })
}

/**
 * Whether the wall has network, PID and mount namespaces, or a keeper in their place, and its number of processes a bound;
 * without them only filters hold a program. Memory has a bound in any case: there is no wall without its watch.
 */
function isWhole({ layers }: Wall, { processes }: BoundMechanisms): boolean {
  const isHeld = (needed: readonly string[]) => needed.every((layer) => layers.includes(layer))
  return processes !== 'none' && (isHeld(namespaced) || isHeld(kept))
}

const namespaced = ['network namespace', 'pid namespace', 'empty root', 'seccomp']
const kept = ['landlock', 'seccomp', 'sentinel', 'keeper']
