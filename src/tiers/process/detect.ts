import { MayflyError } from '../../contract/error.ts'
import type { Provider } from '../../contract/provider.ts'
import { sharedLayout } from '../../contract/shared-layout.ts'
import { strengthOf } from '../../contract/tier.ts'
import type { WardenClient } from '../../walls/client.ts'
import type { BoundMechanisms, Wall } from '../../contract/warden.ts'
import {
  availableBy,
  cellProbe,
  detectLanguages,
  probeBounds,
  probeWall,
  versionBy,
  type ProgramProof,
} from '../../walls/program-proof.ts'
import { assertAnswers, assertJailed } from '../../walls/proof.ts'
import type { ProgramSpares } from '../../walls/program-spares.ts'

interface ProcessProof extends ProgramProof {
  readonly layers: readonly string[]
  /** True if the I/O rate of the disk of /usr can be limited, which not every block device supports. */
  readonly bindsIo: boolean
}

const bounds = { ...probeBounds, io: 2 ** 24 } as const

/**
 * Runs a guest of each language to its end, has a program probe the calls that the filter forbids, and checks the
 * layers of the wall. `isForked`: it may fork programs from templates. Throws if no wall starts. A wall without
 * namespaces, filter or bounds is available with a lower strength.
 */
export async function probe(
  provider: Provider,
  spares: ProgramSpares,
  warden: Pick<WardenClient, 'claim'>,
  isForked: boolean,
): Promise<ProcessProof> {
  const { wall, seen: held } = await probeWall(spares, async (one) => {
    assertMechanism(provider, one.wall)
    await assertJailed(one)
    return (await warden.claim(one.wall.id, bounds)).enforced
  })
  await assertAnswers(provider, cellProbe)
  const languages = await detectLanguages(provider, versionBy)
  const { layers } = wall
  const { without } = languages
  const strength = isWhole(wall, held) ? strengthOf.process : strengthOf.isolate
  const availability = availableBy(wall, strength, languages)
  const forks = isForked && layers.includes('empty root') && !without.includes('python')
  const missing = [...availability.missing, ...(forks ? [sharedLayout] : [])]
  return {
    availability: { ...availability, missing },
    layers,
    without,
    bindsIo: held.io === 'cgroup',
  }
}

/**
 * Asserts the requested jail kind: the warden falls back to another one if it is missing, but this provider is for one
 * kind only.
 */
function assertMechanism({ name }: Provider, { mechanism }: Wall): void {
  if (mechanism === name) return
  throw new MayflyError('NO_JAIL', `Cannot start a wall by "${name}" on this machine`, {
    hint: name === 'bubblewrap' ? 'Install bubblewrap, and allow user namespaces' : '',
  })
}

/**
 * True if the wall has network, PID and mount namespaces, or a keeper instead, and a bound on processes; otherwise only
 * filters restrict a program. Memory is always bounded, because every wall is sampled.
 */
function isWhole({ layers }: Wall, { processes }: BoundMechanisms): boolean {
  const isHeld = (needed: readonly string[]) => needed.every((layer) => layers.includes(layer))
  return processes !== 'none' && (isHeld(namespaced) || isHeld(kept))
}

const namespaced = ['network namespace', 'pid namespace', 'empty root', 'seccomp']
const kept = ['landlock', 'seccomp', 'sentinel', 'keeper']
