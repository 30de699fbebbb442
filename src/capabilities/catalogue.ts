import { type Capability, capabilityName, type CapabilityRow } from '../contract/capability.ts'
import { MayflyError } from '../contract/error.ts'
import { builtin } from './builtin.ts'

const capabilitiesMax = 10_000

/** Capabilities by name. An own entry overrides a built-in one of the same name. */
export class Catalogue {
  readonly #entries = new Map<string, Capability>(builtin.map((one) => [one.name, one]))

  /** Throws MayflyError INVALID for a malformed capability, CONFLICT at the limit. */
  add(capability: Capability): void {
    const { name } = capability
    if (!capabilityName.safeParse(name).success)
      throw invalid('expected a name of 1 to 200 letters, digits, ".", "_" or "-"')
    if (!isWellFormed(capability)) throw invalid(`"${name}" has to be ${expected}`)
    if (this.#entries.size >= capabilitiesMax && !this.#entries.has(name))
      throw new MayflyError('CONFLICT', `Cannot have more than ${capabilitiesMax} capabilities`)
    this.#entries.set(name, Object.freeze({ ...capability }))
  }

  /** Throws MayflyError NOT_FOUND. */
  get(name: string): Capability {
    const found = this.#entries.get(name)
    if (found) return found
    throw new MayflyError('NOT_FOUND', `Cannot find the capability "${name}"`)
  }

  list(): readonly CapabilityRow[] {
    return [...this.#entries.values()].map(({ name, isolated, description = '' }) => ({
      name,
      isolated,
      description,
    }))
  }
}

const expected =
  'isolated with code, or not isolated with a function: code that comes as text always has a wall'

/** Validates entries from plain JavaScript callers. Source text must never run in this process. */
function isWellFormed(capability: Capability): boolean {
  const { isolated, code, run } = capability as Partial<
    Record<'isolated' | 'code' | 'run', unknown>
  >
  if (isolated === true) return typeof code === 'string' && run === undefined
  return isolated === false && typeof run === 'function' && code === undefined
}

function invalid(why: string): MayflyError {
  return new MayflyError('INVALID', `Cannot register the capability: ${why}`)
}
