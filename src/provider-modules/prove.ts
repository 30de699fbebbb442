import type { Control } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import { strengthOf } from '../contract/tier.ts'
import { hasOwnKernel } from '../walls/trials/own-kernel.ts'
import { tryWalls, type WallTrialResult } from '../walls/trials/try-walls.ts'
import { callWithin, boundedCall, type ModuleBounds } from './bounded.ts'
import { checkAvailability } from './check.ts'

const trialsMsMax = 60_000

/** Runs the probe of a module. Throws Error if it hangs, MayflyError PROVIDER_BROKEN for a malformed answer. */
export async function probeModule(
  provider: Pick<Provider, 'detect'>,
  { loopMsMax, probeMsMax }: ModuleBounds,
): Promise<Availability> {
  const answer = callWithin(() => Promise.resolve(provider.detect()), loopMsMax)
  return checkAvailability(await boundedCall(answer, probeMsMax, 'its probe'))
}

/**
 * Proves the claims of a provider that has its own walls: the guests of `mayfly doctor` attack each wall, and a claim
 * of a separate kernel is tested too. Throws MayflyError PROVIDER_UNPROVED if the wall fails its tier. Does nothing
 * for a provider that claims no wall. `folders`: candidates for the bait files; the first writable one is used.
 */
export async function proveTier(provider: Provider, folders: readonly string[]): Promise<void> {
  if (strengthOf[provider.tier] === 0) return
  await boundedCall(tryAll(provider, folders), trialsMsMax, 'the proof of its tier')
}

/** Throws MayflyError PROVIDER_UNPROVED unless the probe proved exactly the strength of the claimed tier. */
export function assertStrength(
  { tier }: Pick<Provider, 'tier'>,
  found: Extract<Availability, { available: true }>,
): void {
  if (found.strength === strengthOf[tier]) return
  const claim = `it claims tier "${tier}" of strength ${strengthOf[tier]}`
  throw unproved(`${claim}, and its probe proved strength ${found.strength}`)
}

async function tryAll(provider: Provider, folders: readonly string[]): Promise<void> {
  const { tier, languages } = provider
  const isBroken = ({ wall, held }: WallTrialResult) => !held && isClaimed(wall, provider)
  const tried = await tryWalls(provider, folders, isBroken)
  if (tried.length === 0)
    throw unproved(
      `it claims tier "${tier}", and no guest of the proof runs in ${languages.join(', ')}`,
    )
  const broken = tried.find(isBroken)
  if (broken)
    throw unproved(`it claims tier "${tier}", and did not hold ${broken.wall} (${broken.how})`)
  if (strengthOf[tier] <= strengthOf.process) return
  const isOwn = await hasOwnKernel(provider)
  if (isOwn === true) return
  throw unproved(
    isOwn === false
      ? `it claims tier "${tier}", and its guests run on the kernel of this machine`
      : `it claims tier "${tier}", and no guest in node or python can look at its kernel`,
  )
}

/** Controls that a wall may leave unenforced; all other trials must pass on every tier. */
const optional: ReadonlySet<string> = new Set<Control>(['cpu', 'memory', 'processes'])

function isClaimed(wall: string, { enforces }: Provider): boolean {
  const name = wall.slice(wall.lastIndexOf(' ') + 1)
  return !optional.has(name) || enforces.includes(name as Control)
}

function unproved(reason: string): MayflyError {
  return new MayflyError('PROVIDER_UNPROVED', reason, {
    hint: 'Claim the tier that its walls hold; "mayfly doctor" tries the same on every provider',
  })
}
