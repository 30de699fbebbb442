import { type Capability, capabilityName, type CapabilityRow } from '../contract/capability.ts'
import { MayflyError } from '../contract/error.ts'
import { builtin } from './builtin.ts'

const capabilitiesMax = 10_000

/** Who can be called, by name. Own entries go before built-in ones of the same name. */
export class Catalogue {
  readonly #entries = new Map<string, Capability>(builtin.map((one) => [one.name, one]))

  /** Throws MayflyError INVALID for what is no capability, CONFLICT when there is no room. */
  add(capability: Capability): void {
    const { name } = capability
    if (!capabilityName.safeParse(name).success)
      throw invalid('expected a name of 1 to 200 letters, digits, ".", "_" or "-"')
    if (!isWhole(capability)) throw invalid(`"${name}" has to be ${expected}`)
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

/** From JavaScript anything may come. Text that is to run in this process is what this system exists to prevent. */
function isWhole(capability: Capability): boolean {
  const { isolated, code, run } = capability as Partial<
    Record<'isolated' | 'code' | 'run', unknown>
  >
  if (isolated === true) return typeof code === 'string' && run === undefined
  return isolated === false && typeof run === 'function' && code === undefined
}

function invalid(why: string): MayflyError {
  return new MayflyError('INVALID', `Cannot register the capability: ${why}`)
}
