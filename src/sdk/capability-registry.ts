import { providerNames } from '../assemble/providers.ts'
import { capabilityJob } from '../capabilities/capability-job.ts'
import { Catalogue } from '../capabilities/catalogue.ts'
import { callInProcess, Misdeclared } from '../capabilities/in-process.ts'
import { safeOutcome } from '../capabilities/outcome.ts'
import type {
  Capability,
  CapabilityRow,
  IsolatedCapability,
  SafeCapability,
} from '../contract/capability.ts'
import { systemClock } from '../contract/clock.ts'
import { isProduction, type ConfigInput } from '../contract/config.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Outcome } from '../contract/outcome.ts'
import { namedTiers, type TierName } from '../contract/tier.ts'
import { deepFreeze } from '../lib/deep-freeze.ts'
import { customName } from './custom-name.ts'
import { assertKnownOptions } from './known-options.ts'
import type { MicroVMProvider } from './microvm-contract.ts'
import type { AddedCustom, MayflyInternals } from './internals.ts'
import { internalsOf, Mayfly } from './mayfly.ts'
import { returnValueOf } from './secure-sandbox.ts'

export interface CapabilityRegistryOptions {
  /** Configuration file or object; default: `MAYFLY_CONFIG`, else `./mayfly.toml` if it exists. */
  readonly config?: string | ConfigInput
  /** Instance to use instead of opening one; its configuration applies, and the caller closes it. */
  readonly mayfly?: Mayfly
  /** Tenant of the jobs; default `default`. */
  readonly tenant?: string
}

export interface CapabilityCallOptions {
  readonly signal?: AbortSignal | undefined
}

/**
 * Capabilities by name. An isolated capability runs as a job in a sandbox of its own, with the limits and grants that
 * `[capability_configs]` sets for its name; a safe one only computes and runs in this process. Its entry declares which.
 *
 * @example
 * const registry = new CapabilityRegistry()
 * registry.setMicroVMProvider('mock')
 * console.log(await registry.executeCapabilityWithMicroVM('math.add', [1, 2])) // 3
 */
export class CapabilityRegistry implements AsyncDisposable {
  readonly #options: CapabilityRegistryOptions
  readonly #catalogue = new Catalogue()
  /** Capabilities that did more than declared. */
  readonly #caught = new Map<string, Misdeclared>()
  readonly #custom = new Map<string, MicroVMProvider>()
  readonly #added = new Map<string, Promise<AddedCustom>>()
  /** Latest attempts that were refused, of which one may have been initialised after its time. */
  readonly #refused = new Map<string, AddedCustom>()
  #chosen = 'auto'
  #opened: Promise<Mayfly> | undefined
  #isOver = false

  /** Throws MayflyError INVALID for an option that there is not. */
  constructor(options: CapabilityRegistryOptions = {}) {
    assertKnownOptions(options, { config: true, mayfly: true, tenant: true })
    this.#options = options
  }

  /**
   * Selects the provider or tier of isolated capabilities from the next call on; `auto`, the default, lets
   * Mayfly choose. Throws MayflyError NOT_FOUND for an unknown name, UNAVAILABLE for the mock in production.
   */
  setMicroVMProvider(name: string): void {
    const isKnown = this.#custom.has(name) || known.has(name) || this.#options.mayfly !== undefined
    if (!isKnown) throw new MayflyError('NOT_FOUND', `Cannot find the provider "${name}"`)
    const environment = process.env['MAYFLY_ENV'] ?? ''
    if (name === 'mock' && isProduction({ environment }))
      throw new MayflyError(
        'UNAVAILABLE',
        'Cannot use the mock provider in production: it isolates nothing',
      )
    this.#chosen = name
  }

  /**
   * Registers a custom provider, which is selected by its name. Its isolation is a claim of its author (unverified): everything it
   * runs is marked as `custom:NAME` in outcome and record. Throws MayflyError INVALID, or CONFLICT for a name in
   * use.
   */
  registerProvider(provider: MicroVMProvider): void {
    const own = customName(provider)
    if (known.has(own) || this.#custom.has(own))
      throw new MayflyError('CONFLICT', `Cannot register the provider "${own}": its name is in use`)
    this.#custom.set(own, provider)
  }

  /**
   * Adds or replaces a capability. Source text always runs in a sandbox; a function
   * declared safe runs in this process, and is refused after it did more than compute. Throws MayflyError INVALID, also
   * for a field that there is not.
   */
  register(capability: SafeCapability | IsolatedCapability): void {
    assertKnownOptions<Partial<Fields>>(capability, fields)
    this.#catalogue.add(capability)
    this.#caught.delete(capability.name)
  }

  list(): readonly CapabilityRow[] {
    return this.#catalogue.list()
  }

  /**
   * Calls a capability and resolves to its value. Throws EffectError if it failed, MayflyError NOT_FOUND,
   * FORBIDDEN for a misdeclared capability, and the error that a safe capability throws.
   */
  async executeCapabilityWithMicroVM(
    name: string,
    args: readonly unknown[] = [],
    options: CapabilityCallOptions = {},
  ): Promise<unknown> {
    const capability = this.#find(name, args, options)
    if (!capability.isolated) return this.#here(capability, args)
    return returnValueOf(await this.#isolated(capability, args, options))
  }

  /** Like `executeCapabilityWithMicroVM`, but returns the whole outcome: limits, network attempts, line in the record. */
  async execute(
    name: string,
    args: readonly unknown[] = [],
    options: CapabilityCallOptions = {},
  ): Promise<Outcome> {
    const capability = this.#find(name, args, options)
    if (capability.isolated) return this.#isolated(capability, args, options)
    const began = systemClock.now()
    const facts = () => ({
      name,
      date: systemClock.date(),
      executionTime: systemClock.now() - began,
    })
    try {
      const value = await this.#here(capability, args)
      return safeOutcome(facts(), { value })
    } catch (thrown) {
      if (thrown instanceof MayflyError) throw thrown
      return safeOutcome(facts(), { error: { code: 'USER_ERROR', message: messageOf(thrown) } })
    }
  }

  /** Closes the Mayfly instance that it opened, and cleans up custom providers. Idempotent. */
  async close(): Promise<void> {
    this.#isOver = true
    const ends = [...this.#added.values(), ...this.#refused.values()].map(async (adding) => {
      await (await Promise.resolve(adding).catch(() => undefined))?.close()
    })
    const ended = await Promise.allSettled(ends)
    const opened = this.#opened
    this.#opened = undefined
    await (await opened?.catch(() => undefined))?.close()
    for (const one of ended) if (one.status === 'rejected') throw one.reason
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #find(name: string, args: unknown, options: CapabilityCallOptions): Capability {
    assertKnownOptions(options, { signal: 'signal' })
    if (!Array.isArray(args))
      throw new MayflyError('INVALID', `Cannot call "${name}": expected a list of arguments`)
    if (this.#isOver) throw new MayflyError('CONFLICT', 'Cannot use the registry: it was closed')
    const caught = this.#caught.get(name)
    if (caught) throw caught
    return this.#catalogue.get(name)
  }

  /** Records a misdeclared capability before the error reaches the caller. */
  async #here(capability: SafeCapability, args: readonly unknown[]): Promise<unknown> {
    try {
      return callInProcess(capability, args)
    } catch (thrown) {
      if (thrown instanceof Misdeclared) {
        this.#caught.set(capability.name, thrown)
        const internals = await this.#internals()
        await internals.reportMisdeclared(capability.name, thrown.seen)
      }
      throw thrown
    }
  }

  async #isolated(
    capability: IsolatedCapability,
    args: readonly unknown[],
    { signal }: CapabilityCallOptions,
  ): Promise<Outcome> {
    const { tenant = 'default' } = this.#options
    const chosen = this.#chosen
    const asked = { ...capabilityJob(capability, args), ...wallOf(chosen, this.#custom) }
    const internals = await this.#internals()
    await this.#add(chosen, internals)
    return internals.runCapability(asked, { capability: capability.name, tenant }, { signal })
  }

  /** Initialises a custom provider at its first use, and again at the next one if it was not available then. */
  #add(chosen: string, internals: MayflyInternals): Promise<unknown> | undefined {
    const custom = this.#custom.get(chosen)
    const added = this.#added.get(chosen)
    if (!custom || added) return added
    const adding = internals.addCustom(membersOf(custom))
    this.#added.set(chosen, adding)
    void this.#forgetRefused(chosen, adding)
    return adding
  }

  async #forgetRefused(chosen: string, adding: Promise<AddedCustom>): Promise<void> {
    const added = await adding.catch(() => undefined)
    if (added?.availability.available) return
    this.#added.delete(chosen)
    if (added) this.#refused.set(chosen, added)
  }

  async #internals(): Promise<MayflyInternals> {
    return internalsOf(await this.#mayfly())
  }

  #mayfly(): Promise<Mayfly> {
    const { mayfly, config } = this.#options
    if (mayfly) return Promise.resolve(mayfly)
    this.#opened ??= Mayfly.open(config)
    this.#opened.catch(() => (this.#opened = undefined))
    return this.#opened
  }
}

type Fields = Record<keyof SafeCapability | keyof IsolatedCapability, unknown>
const fields: Readonly<Record<keyof Fields, true>> = {
  name: true,
  description: true,
  isolated: true,
  run: true,
  code: true,
  language: true,
  entry: true,
  limits: true,
  network: true,
  files: true,
}

/** Members as data and functions: a provider may be an instance of a class. */
function membersOf(custom: MicroVMProvider): MicroVMProvider {
  return {
    name: customName(custom),
    ...(custom.tier && { tier: custom.tier }),
    isAvailable: () => custom.isAvailable(),
    initialize: () => custom.initialize(),
    // A context from another process is a copy, which is not frozen.
    execute: (context, options) => custom.execute(deepFreeze(context), options),
    cleanup: () => custom.cleanup(),
  }
}

const CUSTOM = 'custom:'
/** Tiers missing on a machine make a call end as unavailable, with the reason. */
const known: ReadonlySet<string> = new Set(['auto', ...providerNames, ...namedTiers])

function wallOf(
  chosen: string,
  custom: ReadonlyMap<string, unknown>,
): { readonly tier?: TierName; readonly provider?: string } {
  if (chosen === 'auto') return {}
  if (custom.has(chosen)) return { provider: CUSTOM + chosen }
  const tier = namedTiers.find((one) => one === chosen)
  return tier ? { tier } : { provider: chosen }
}
