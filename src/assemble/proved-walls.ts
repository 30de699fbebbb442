import type { Clock } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import { closedError, MayflyError, messageOf } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Language } from '../contract/job.ts'
import type { Availability, ProvedProvider, Provider } from '../contract/provider.ts'
import { jailKinds } from '../contract/jail-kind.ts'
import type { ProviderFacts } from '../profile/choose-tier.ts'
import { isOfTier, isProvedAtStart, mayServe, type ProviderLoaders } from './providers.ts'
import { RetryTimes } from './retry-times.ts'

/** Bound of an application's probe, which may never settle. Under an older Node its two calls may take 30 s each. */
export const probeMsMax = 60_000

/** Whether the proof of one more wall can help a job. */
export type Helps = 'served' | 'yes' | 'no'

/**
 * Providers with the results of their probes. A provider's files are loaded when it is first needed, and it is proved
 * once, also for concurrent first jobs. One that was refused is tried again when it is needed after a while: what it lacked may
 * have been installed. Jobs do not wait for that, and the next one finds the result.
 */
export class ProvedWalls {
  readonly #loaders: ProviderLoaders
  readonly #emitter: Emitter
  readonly #clock: Pick<Clock, 'now' | 'after'>
  readonly #closed = Promise.withResolvers<never>()
  readonly #known: Map<string, Provider>
  readonly #proofs = new Map<string, Availability>()
  readonly #provings = new Map<string, Promise<void>>()
  readonly #retries: RetryTimes
  readonly #retrying = new Map<string, Promise<void>>()
  /** Loads provider modules, if any are configured. */
  discover: (() => Promise<void>) | undefined
  #discovered: Promise<void> | undefined
  /** Files of provider modules in use, by the name of their provider. */
  readonly #modules = new Map<string, string>()
  #refused: readonly ProvedProvider[] = []
  #facts: readonly ProviderFacts[] = []

  /** `others`: third-party providers of the application; their code is trusted and runs in this process. */
  constructor(parts: {
    readonly loaders: ProviderLoaders
    readonly others: readonly Provider[]
    readonly emitter: Emitter
    readonly clock: Pick<Clock, 'now' | 'after'>
  }) {
    this.#loaders = parts.loaders
    this.#emitter = parts.emitter
    this.#clock = parts.clock
    this.#closed.promise.catch(() => undefined)
    this.#retries = new RetryTimes(parts.clock)
    this.#known = new Map(parts.others.map((one) => [one.name, one]))
  }

  /** Input for the choice of a wall; a new array after each proof, so that caches by identity expire. */
  get facts(): readonly ProviderFacts[] {
    return this.#facts
  }

  get proved(): readonly ProvedProvider[] {
    return [...this.#known.values()].flatMap((provider) => {
      const availability = this.#proofs.get(provider.name)
      const module = this.#modules.get(provider.name)
      return availability
        ? [{ provider, availability, ...(module !== undefined && { module }) }]
        : []
    })
  }

  /** All proved providers, then refused provider modules with their reasons. */
  get listed(): readonly ProvedProvider[] {
    return [...this.proved, ...this.#refused]
  }

  /** Names of refused provider modules. */
  get refused(): readonly string[] {
    return this.#refused.map(({ provider }) => provider.name)
  }

  /** True for a built-in provider, or one of the application's. */
  isOwn(name: string): boolean {
    return this.#loaders.has(name) || (this.#known.has(name) && !this.#modules.has(name))
  }

  /** Adds the proved provider of a module; chosen from the next job on. */
  serveModule({ provider, availability, module }: Required<ProvedProvider>): void {
    this.#known.set(provider.name, provider)
    this.#proofs.set(provider.name, availability)
    this.#provings.set(provider.name, Promise.resolve())
    this.#modules.set(provider.name, module)
    this.#report(provider.name, availability)
    this.#restate()
  }

  /** Withdraws the provider of a module from the next job on. */
  withdrawModule(name: string): void {
    if (!this.#modules.delete(name)) return
    this.#known.delete(name)
    this.#proofs.delete(name)
    this.#provings.delete(name)
    this.#restate()
  }

  /** Replaces the list of refused modules. */
  refuseModules(refused: readonly ProvedProvider[]): void {
    this.#refused = refused
    this.#restate()
  }

  /** The built-in provider of this name, or the first available one of this tier, proved; undefined for any other word. */
  async baseFor(on: string): Promise<ProvedProvider | undefined> {
    const names = [...this.#loaders.keys()].filter((name) => name === on || isOfTier(name, on))
    let base: ProvedProvider | undefined
    for (const name of names) {
      await this.proveNamed(name)
      const found = this.proved.find(({ provider }) => provider.name === name)
      if (found?.availability.available) return found
      base ??= found
    }
    return base
  }

  /** Names of built-in providers that are probed only when a job first needs them. */
  get unproved(): readonly string[] {
    return [...this.#loaders.keys()].filter((name) => name !== 'mock' && !this.#proofs.has(name))
  }

  get loaded(): readonly Provider[] {
    return [...this.#known.values()]
  }

  /** Loaded provider of this name. */
  find(name: string): Provider | undefined {
    return this.#known.get(name)
  }

  /** Proves the walls that jobs use by default under this configuration. */
  async proveAtStart(config: Config): Promise<void> {
    const names = [...this.#loaders.keys(), ...this.#known.keys()]
    const usual = names.filter((name) => isProvedAtStart(name, config))
    await Promise.all(usual.map((name) => this.proveNamed(name)))
  }

  /** Proves process walls, strongest first, until one is available; others are proved when a job names them. */
  async proveProcesses(): Promise<void> {
    for (const jailKind of jailKinds) {
      await this.proveNamed(jailKind)
      if (this.#proofs.get(jailKind)?.available) return
    }
  }

  /** Proves all of them, again those for which it is time. */
  async proveAll(): Promise<void> {
    for (const name of [...this.#loaders.keys(), ...this.#known.keys()]) {
      await this.proveNamed(name)
      await this.#retrying.get(name)
    }
  }

  /**
   * Proves walls that may serve a language, cheap ones first, until the job is `served`. A wall that would not help is passed
   * over: one behind it may.
   */
  async proveUntil(language: Language, ask: (next: string) => Helps): Promise<void> {
    for (const name of this.#loaders.keys()) {
      if (!mayServe(name, language)) continue
      if (this.#proofs.has(name) && !this.#isDue(name)) continue
      const helps = ask(name)
      if (helps === 'served') return
      if (helps === 'yes') await this.proveNamed(name)
    }
    if (!this.discover || ask('') !== 'yes') return
    await (this.#discovered ??= this.discover())
  }

  /** Proves the provider of this name, after a discovery if it is unknown. An unknown name is reported by `chooseTier`. */
  async proveNamed(name: string): Promise<void> {
    if (!this.#knows(name)) await this.discover?.()
    if (!this.#knows(name)) return
    if (this.#isDue(name)) void this.#proveAgain(name)
    if (!this.#provings.has(name)) this.#provings.set(name, this.#proveNow(name))
    await this.#provings.get(name)
  }

  /** True if it was refused, and it is time for another attempt. A provider module is retried by its own. */
  #isDue(name: string): boolean {
    return this.#retries.isDue(name) && !this.#modules.has(name)
  }

  /** Probes a refused wall again; one attempt at a time. Never rejects: a failed attempt leaves the refusal. */
  #proveAgain(name: string): Promise<void> {
    const provider = this.#known.get(name)
    const trying = this.#retrying.get(name)
    if (trying || !provider) return trying ?? Promise.resolve()
    const attempt = this.#prove(provider)
      .then(() => undefined)
      .catch(() => this.#retries.refused(name))
      .finally(() => this.#retrying.delete(name))
    this.#retrying.set(name, attempt)
    return attempt
  }

  /** Adds a provider while running: known once it is proved, and chosen from the next job on. */
  async add(provider: Provider): Promise<Availability> {
    const availability = await this.#prove(provider)
    this.#modules.delete(provider.name)
    this.#provings.set(provider.name, Promise.resolve())
    return availability
  }

  /** Throws MayflyError INVALID unless this provider exists and can be proved now; tries a refused one again at once. */
  async mustServe(name: string): Promise<void> {
    const wasRefused = this.#proofs.get(name)?.available === false && !this.#modules.has(name)
    await this.proveNamed(name)
    if (wasRefused) await this.#proveAgain(name)
    if (!this.#knows(name)) throw notServing(name, 'there is no provider of this name')
    const proof = this.#proofs.get(name)
    if (!proof?.available) throw notServing(name, proof?.reason ?? 'it was not proved')
  }

  /** Ends the wait for probes of the application. */
  close(): void {
    this.#closed.reject(closedError())
  }

  async #proveNow(name: string): Promise<void> {
    const provider = this.#known.get(name) ?? (await this.#loaders.get(name)?.())
    if (provider && !this.#proofs.has(name)) await this.#prove(provider)
  }

  async #prove(provider: Provider): Promise<Availability> {
    const availability = await this.#probe(provider)
    this.#known.set(provider.name, provider)
    this.#proofs.set(provider.name, availability)
    if (availability.available) this.#retries.succeeded(provider.name)
    else this.#retries.refused(provider.name)
    this.#restate()
    this.#report(provider.name, availability)
    return availability
  }

  /** Mayfly's own probes have bounds of their own. */
  async #probe(provider: Provider): Promise<Availability> {
    if (this.#loaders.has(provider.name)) return await probed(provider, [])
    const late = Promise.withResolvers<never>()
    const fail = () => late.reject(new Error(`its probe took longer than ${probeMsMax} ms`))
    const timer = this.#clock.after(probeMsMax, fail)
    try {
      return await probed(provider, [late.promise, this.#closed.promise])
    } finally {
      timer.cancel()
    }
  }

  /** Rebuilds the facts; a refused module is listed unless a provider has its name. */
  #restate(): void {
    const positions = [...this.#loaders.keys()]
    const refused = this.#refused.filter(({ provider: { name } }) => !this.#knows(name))
    this.#facts = [...this.proved, ...refused].map((one) =>
      factsOf(one, positions.indexOf(one.provider.name)),
    )
  }

  #knows(name: string): boolean {
    return this.#loaders.has(name) || this.#known.has(name)
  }

  #report(provider: string, availability: Availability): void {
    const { available } = availability
    const fields = available ? { layers: availability.layers } : { reason: availability.reason }
    this.#emitter.emit(available ? 'tier/proved' : 'tier/unavailable', { provider, ...fields })
  }
}

/**
 * Probe of a wall; one that throws, answers no availability, or settles after a promise of `ends` rejects is refused, so that
 * jobs get other walls.
 */
async function probed(provider: Provider, ends: readonly Promise<never>[]): Promise<Availability> {
  try {
    const answered = (await Promise.race([provider.detect(), ...ends])) as Availability | undefined
    if (typeof answered?.available === 'boolean') return answered
    throw new MayflyError('PROVIDER_BROKEN', 'its probe answered no availability')
  } catch (thrown) {
    return {
      available: false,
      code: thrown instanceof MayflyError ? thrown.code : 'PROVIDER_BROKEN',
      reason: `Cannot prove provider "${provider.name}": ${messageOf(thrown)}`,
      fix: 'Ask the author of the provider',
    }
  }
}

/** `position`: index among Mayfly's own providers, below zero for others. */
function factsOf({ provider, availability }: ProvedProvider, position: number): ProviderFacts {
  const { name, tier, languages, can, enforces, tightens, isByNameAlone = false, images } = provider
  const { available } = availability
  const declared = {
    name,
    tier,
    languages,
    can,
    enforces,
    tightens,
    isByNameAlone,
    ...(images && { images }),
  }
  const common = { ...declared, available, ...(position >= 0 && { position }) }
  if (!availability.available) return { ...common, strength: 0, reason: availability.reason }
  const { strength, layers, missing, cost } = availability
  const proved = { strength, layers: layers.length, missing: missing.length }
  return { ...common, ...proved, ...(cost && { cost }) }
}

function notServing(name: string, reason: string): MayflyError {
  return new MayflyError('INVALID', `Cannot make "${name}" the default provider: ${reason}`, {
    details: [{ path: 'default_provider', message: reason }],
  })
}
