import type { Config } from '../contract/config.ts'
import type { ProvedWalls } from './proved-walls.ts'

/** A wall that the configuration names and that this machine does not have. */
export interface UnavailableName {
  readonly name: string
  /** Key of the configuration. */
  readonly setBy: string
  readonly reason: string
  readonly fix: string
}

/** Proves the walls that `default_provider` and `[[spares]]` name, and returns those that are not available, each once a key. */
export async function unavailableNames(
  { default_provider: preferred, spares }: Pick<Config, 'default_provider' | 'spares'>,
  walls: Pick<ProvedWalls, 'proveNamed' | 'proved'>,
): Promise<readonly UnavailableName[]> {
  const named = [
    ...(preferred === 'auto' ? [] : [{ name: preferred, setBy: 'default_provider' }]),
    ...[...new Set(spares.map(({ provider }) => provider))].map((name) => ({
      name,
      setBy: 'spares',
    })),
  ]
  const found: UnavailableName[] = []
  for (const one of named) {
    await walls.proveNamed(one.name)
    const proved = walls.proved.find(({ provider }) => provider.name === one.name)
    const availability = proved?.availability ?? unknown
    if (availability.available) continue
    const { reason, fix } = availability
    found.push({ ...one, reason, fix })
  }
  return found
}

const unknown = {
  available: false,
  reason: 'There is no provider of this name',
  fix: '"mayfly providers" lists their names',
} as const
