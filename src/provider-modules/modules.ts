import { basename, extname } from 'node:path'
import { MayflyError } from '../contract/error.ts'
import type { Point } from '../contract/event.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import type { ProviderModule } from '../contract/provider-module.ts'
import { createMutex } from '../lib/mutex.ts'
import { resolvesWithin } from '../lib/within.ts'
import { isComposed } from './check.ts'
import { moduleBounds, type ModuleBounds } from './bounded.ts'
import { compose, type BaseProvider } from './compose.ts'
import { findModules, type ModuleFile, type ModuleSources, type ModuleTrust } from './find.ts'
import { brokenModule, loadModule } from './load.ts'
import { assertStrength, probeModule, proveTier } from './prove.ts'
import { ServedProvider } from './served-provider.ts'

/** A listed module. */
export interface ListedModule {
  readonly provider: Provider
  readonly availability: Availability
  /** File of the module, as configured. */
  readonly module: string
}

export interface ModuleHost {
  /** The built-in provider of this name, or the first available provider of this tier, after its proof. */
  base(on: string): Promise<BaseProvider | undefined>
  /** True for the name of a provider that is not a module. */
  isTaken(name: string): boolean
  /** Called after the proof of a module: the next job may use it. */
  serve(listed: ListedModule): void
  withdraw(name: string): void
  /** Called after each change with the modules that are listed without serving. */
  list(refused: readonly ListedModule[]): void
  /** Writes a line of the record, then emits the event. Throws MayflyError STATE. */
  tell(point: Point, fields: Readonly<Record<string, unknown>>): void
}

export interface ModuleParts {
  readonly places: ModuleSources
  readonly trust: ModuleTrust
  readonly host: ModuleHost
  /** Candidate folders for the bait files of proofs; the first one that this process can write is used. */
  readonly baitFolders: readonly string[]
  /** Shorter bounds for tests. */
  readonly bounds?: ModuleBounds
}

interface Entry {
  readonly found: ModuleFile
  /** Name of the provider, or of the file until that is known. */
  name: string
  isNamed: boolean
  /** Declared facts of the provider, once it is loaded. */
  declared: Partial<Provider>
  availability: Availability
  /** Hash of the file as loaded. */
  sha256?: string
  served?: ServedProvider
  /** True if another module has this name; retried when a module is removed. */
  isNameTaken?: boolean
  task: Promise<void>
}

const pollMs = 2_000
const settleMsMax = 15_000
const pending: Availability = {
  available: false,
  code: 'PROVIDER_UNPROVED',
  reason: 'Its proof is in progress',
  fix: 'Ask again in a few seconds',
}

/**
 * Provider modules of this process: finds, loads, proves, serves and withdraws them. Files are polled, because
 * watching a folder (inotify) reports no change of mode or owner of its parents, and nothing on a network file system.
 * Each module is handled in its own task, so one that hangs delays no other; only proofs run one at a time. A changed
 * file is a new module: the previous one gets no further jobs, and its running jobs end as usual.
 */
export class ProviderModules {
  readonly #parts: ModuleParts
  readonly #entries = new Map<string, Entry>()
  /** Serialises proofs, because they measure shares of the CPU. */
  readonly #trials = createMutex()
  #generation = 0
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(parts: ModuleParts) {
    this.#parts = parts
  }

  /** Scans for modules now, and then every `pollMs`. */
  watch(): void {
    this.#scan()
    this.#timer ??= setInterval(() => this.#scan(), pollMs).unref()
  }

  /** Scans for modules now, and waits until each one is proved or refused, at most `settleMsMax`. */
  async settle(): Promise<void> {
    this.#scan()
    const tasks = [...this.#entries.values()].map(({ task }) => task)
    await resolvesWithin(Promise.all(tasks), settleMsMax)
  }

  /** Stops scanning. Serving providers are closed with all other walls. */
  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
  }

  #scan(): void {
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

  #add(found: ModuleFile): void {
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
    this.#report('provider/removed', { provider: entry.name, file: path, isChanged })
  }

  /** Loads, proves and serves a module. Never rejects. */
  async #open(entry: Entry): Promise<void> {
    const { found } = entry
    try {
      if (found.fault) throw found.fault
      const { trust, bounds = moduleBounds } = this.#parts
      const asked = { ...bounds, generation: String(++this.#generation) }
      const { made, sha256 } = await loadModule(found, trust, asked)
      entry.sha256 = sha256
      this.#claimName(entry, made.name)
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
      hint: '"mayfly providers" lists the available ones',
    })
  }

  /** Race between two modules of one name: the first one loaded gets it. */
  #claimName(entry: Entry, name: string): void {
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

  /** Writes the line of the record first: code that cannot be recorded does not serve. */
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
    this.#report('provider/refused', { provider: entry.name, file, code, reason })
  }

  /** Reports an event that takes effect even if the line of the record cannot be written. */
  #report(point: Point, fields: Readonly<Record<string, unknown>>): void {
    try {
      this.#parts.host.tell(point, fields)
    } catch {
      // The record reports its own write errors.
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

/** Listing of a module that does not serve, with the facts known so far. */
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
