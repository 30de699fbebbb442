import { basename, extname } from 'node:path'
import { MayflyError } from '../contract/error.ts'
import type { Point } from '../contract/event.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import type { ProviderModule } from '../contract/provider-module.ts'
import { createMutex } from '../lib/mutex.ts'
import { isComposed } from './check.ts'
import { moduleBounds, type ModuleBounds } from './bounded.ts'
import { compose, type BaseProvider } from './compose.ts'
import { findModules, type FoundModule, type ModulePlaces, type ModuleTrust } from './find.ts'
import { brokenModule, loadModule } from './load.ts'
import { assertStrength, probeModule, proveTier } from './prove.ts'
import { ServedProvider } from './served-provider.ts'

/** A module as it is listed. */
export interface ListedModule {
  readonly provider: Provider
  readonly availability: Availability
  /** File of the module, as configured. */
  readonly module: string
}

export interface ModuleHost {
  /** The built-in provider of this name, or the first available of this tier, proved. */
  base(on: string): Promise<BaseProvider | undefined>
  /** True for the name of a provider that is no module. */
  isTaken(name: string): boolean
  /** A module is proved: from the next job on it is chosen. */
  serve(listed: ListedModule): void
  withdraw(name: string): void
  /** Modules that are listed without serving, after each change. */
  list(refused: readonly ListedModule[]): void
  /** Writes the line of the record, then emits the event. Throws MayflyError STATE. */
  tell(point: Point, fields: Readonly<Record<string, unknown>>): void
}

export interface ModuleParts {
  readonly places: ModulePlaces
  readonly trust: ModuleTrust
  readonly host: ModuleHost
  /** Folders for the bait of proofs, the first that this process may write to. */
  readonly baitFolders: readonly string[]
  /** For tests, which do not wait as long. */
  readonly bounds?: ModuleBounds
}

interface Entry {
  readonly found: FoundModule
  /** Name of the provider as soon as that is known; until then, that of the file. */
  name: string
  isNamed: boolean
  /** Facts that it declares, once it is loaded. */
  declared: Partial<Provider>
  availability: Availability
  /** Hash of the file as it was loaded. */
  sha256?: string
  served?: ServedProvider
  /** The name is another module's: tried again when one is gone. */
  isNameTaken?: boolean
  task: Promise<void>
}

const pollMs = 2_000
const settleMsMax = 15_000
const pending: Availability = {
  available: false,
  code: 'PROVIDER_UNPROVED',
  reason: 'Its proof is under way',
  fix: 'Ask again in some seconds',
}

/**
 * Provider modules of this process: found, loaded, proved, served and withdrawn. Files are polled, because a watch of a
 * folder sees no change of mode or owner further up, and none on a network file system. Each module is a task of its own,
 * so one that hangs delays no other, except that hostile guests try one provider at a time. A changed file is a new module: the one before takes no further job, and its running
 * jobs end as usual.
 */
export class ProviderModules {
  readonly #parts: ModuleParts
  readonly #entries = new Map<string, Entry>()
  /** Trials measure shares of the processor, so one runs at a time. */
  readonly #trials = createMutex()
  #generation = 0
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(parts: ModuleParts) {
    this.#parts = parts
  }

  /** Looks now, and again from time to time. */
  watch(): void {
    this.#look()
    this.#timer ??= setInterval(() => this.#look(), pollMs).unref()
  }

  /** Looks now, and waits until each module that is there is proved or refused, or for a bounded time. */
  async settle(): Promise<void> {
    this.#look()
    const tasks = Promise.all([...this.#entries.values()].map(({ task }) => task))
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, settleMsMax)
    await Promise.race([tasks, late.promise])
    clearTimeout(timer)
  }

  /** Stops looking. Providers that serve are closed with all other walls. */
  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
  }

  #look(): void {
    if (this.#isClosed) return
    const { places, trust } = this.#parts
    const found = findModules(places, trust)
    const stamps = new Map(found.map(({ path, stamp }) => [path, stamp]))
    const entries = [...this.#entries.values()]
    const gone = entries.filter((one) => stamps.get(one.found.path) !== one.found.stamp)
    for (const one of gone) this.#remove(one, stamps.has(one.found.path))
    if (gone.length > 0)
      for (const one of entries) if (one.isNameTaken) this.#entries.delete(one.found.path)
    for (const one of found) if (!this.#entries.has(one.path)) this.#add(one)
    this.#list()
  }

  #add(found: FoundModule): void {
    const entry: Entry = {
      found,
      name: basename(found.path, extname(found.path)),
      isNamed: false,
      declared: {},
      availability: pending,
      task: Promise.resolve(),
    }
    this.#entries.set(found.path, entry)
    entry.task = this.#open(entry).finally(() => this.#list())
  }

  #remove(entry: Entry, isChanged: boolean): void {
    const { path } = entry.found
    this.#entries.delete(path)
    if (!entry.served) return
    this.#parts.host.withdraw(entry.name)
    entry.served.retire()
    this.#tell('provider/removed', { provider: entry.name, file: path, isChanged })
  }

  /** Never rejects. */
  async #open(entry: Entry): Promise<void> {
    const { found } = entry
    try {
      if (found.fault) throw found.fault
      const { trust, bounds = moduleBounds } = this.#parts
      const asked = { ...bounds, generation: String(++this.#generation) }
      const { made, sha256 } = await loadModule(found, trust, asked)
      entry.sha256 = sha256
      this.#takeName(entry, made.name)
      const provider = await this.#providerOf(made)
      entry.declared = declaredBy(provider)
      const availability = await probeModule(provider, bounds)
      if (!availability.available) return this.#refuse(entry, availability)
      assertStrength(provider, availability)
      const served = new ServedProvider(provider, bounds)
      if (!isComposed(made)) await this.#trials(() => proveTier(served, this.#parts.baitFolders))
      this.#serve(entry, served, availability)
    } catch (thrown) {
      const { code, message: reason, hint: fix = '' } = brokenModule(found.path, thrown)
      this.#refuse(entry, { available: false, code, reason, fix })
    }
  }

  async #providerOf(made: ProviderModule): Promise<Provider> {
    if (!isComposed(made)) return made
    const base = await this.#parts.host.base(made.on)
    if (base) return compose(made, base)
    throw new MayflyError('PROVIDER_BROKEN', `on: there is no provider or tier "${made.on}"`, {
      hint: '"mayfly providers" lists those that are there',
    })
  }

  /** The first module that is loaded has a name that two claim. */
  #takeName(entry: Entry, name: string): void {
    const others = [...this.#entries.values()].filter((one) => one !== entry && one.isNamed)
    const holder = others.find((one) => one.name === name)
    entry.isNameTaken = holder !== undefined
    if (holder || this.#parts.host.isTaken(name)) {
      const whose = holder ? `the module "${holder.found.path}"` : 'another provider'
      throw new MayflyError('PROVIDER_BROKEN', `its name "${name}" is that of ${whose}`, {
        hint: 'Give it another name',
      })
    }
    entry.name = name
    entry.isNamed = true
  }

  /** The line of the record comes first: code that cannot be recorded serves nothing. */
  #serve(
    entry: Entry,
    served: ServedProvider,
    availability: Extract<Availability, { available: true }>,
  ): void {
    if (this.#isGone(entry)) return served.retire()
    const { name, tier } = served
    const { path } = entry.found
    const { sha256 } = entry
    this.#parts.host.tell('provider/loaded', { provider: name, file: path, sha256, tier })
    entry.served = served
    entry.availability = availability
    this.#parts.host.serve({ provider: served, availability, module: path })
  }

  #refuse(entry: Entry, availability: Extract<Availability, { available: false }>): void {
    entry.availability = availability
    if (this.#isGone(entry)) return
    const { code, reason } = availability
    const { path: file } = entry.found
    this.#tell('provider/refused', { provider: entry.name, file, code, reason })
  }

  /** For what holds with a line in the record or without. */
  #tell(point: Point, fields: Readonly<Record<string, unknown>>): void {
    try {
      this.#parts.host.tell(point, fields)
    } catch {
      // The record reports by itself that it cannot be written.
    }
  }

  #isGone(entry: Entry): boolean {
    return this.#isClosed || this.#entries.get(entry.found.path) !== entry
  }

  #list(): void {
    const refused = [...this.#entries.values()].filter(({ served }) => !served)
    this.#parts.host.list(refused.map((entry) => listedOf(entry)))
  }
}

function declaredBy({ tier, languages, enforces, tightens, can }: Provider): Partial<Provider> {
  return { tier, languages, enforces, tightens, can }
}

/** A module that serves nothing, as far as it is known. */
function listedOf({ name, declared, availability, found }: Entry): ListedModule {
  const provider: Provider = {
    tier: 'none',
    languages: [],
    enforces: [],
    tightens: [],
    can: [],
    ...declared,
    name,
    detect: () => Promise.resolve(availability),
    launch() {
      throw new MayflyError('UNAVAILABLE', `Cannot use provider "${name}"`)
    },
  }
  return { provider, availability, module: found.path }
}
