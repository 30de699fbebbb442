import { MayflyError, messageOf } from '../contract/error.ts'
import type { Profile } from '../contract/profile.ts'
import type { Provider, Sandbox, LaunchHints } from '../contract/provider.ts'
import type { Clock } from '../contract/clock.ts'
import { callWithin, moduleBounds, boundedCall, type ModuleBounds } from './bounded.ts'
import { checkSandbox } from './check.ts'

const closeMsMax = 5_000

/**
 * Wrapper of a module's provider for the pool. It copies the declarations once, so that proved facts cannot change
 * later, and counts the sandboxes, so that a removed module is closed after its last sandbox. A queued job whose
 * module was removed or changed ends unavailable, because its profile was made for the previous module.
 */
export class ServedProvider implements Provider {
  readonly name: string
  readonly tier: Provider['tier']
  readonly languages: Provider['languages']
  readonly enforces: Provider['enforces']
  readonly tightens: Provider['tightens']
  readonly can: Provider['can']
  readonly isByNameAlone: boolean
  readonly #inner: Provider
  readonly #bounds: ModuleBounds
  #live = 0
  #isRetired = false
  #closing: Promise<void> | undefined

  constructor(inner: Provider, bounds: ModuleBounds = moduleBounds) {
    this.#inner = inner
    this.#bounds = bounds
    this.name = inner.name
    this.tier = inner.tier
    this.languages = [...inner.languages]
    this.enforces = [...inner.enforces]
    this.tightens = [...inner.tightens]
    this.can = [...inner.can]
    this.isByNameAlone = inner.isByNameAlone ?? false
  }

  detect(): ReturnType<Provider['detect']> {
    return this.#inner.detect()
  }

  async launch(profile: Profile, clock: Clock, hints?: LaunchHints): Promise<Sandbox> {
    const { name, tier, languages } = this
    const isStale = profile.tier !== tier || !languages.includes(profile.language)
    if (this.#isRetired || isStale) throw unavailable(name, new Error('its module has changed'))
    this.#live += 1
    try {
      return this.#named(await this.#launchInTime(profile, clock, hints))
    } catch (error) {
      this.#release()
      throw error
    }
  }

  /** Accepts no further job; closes after the last sandbox. */
  retire(): void {
    this.#isRetired = true
    if (this.#live === 0) void this.close()
  }

  /**
   * Never rejects, and returns within a bound: a module that fails to close must not block the shutdown of the server.
   */
  close(): Promise<void> {
    this.#isRetired = true
    this.#closing ??= this.#closeNow()
    return this.#closing
  }

  async #closeNow(): Promise<void> {
    const closing = Promise.try(() => this.#inner.close?.())
    // The module is not used again even if its close fails.
    await boundedCall(closing, closeMsMax, 'its close', { keepsAlive: true }).catch(() => undefined)
  }

  /** A sandbox that arrives after the deadline is destroyed. */
  async #launchInTime(profile: Profile, clock: Clock, hints?: LaunchHints): Promise<Sandbox> {
    const { loopMsMax, launchMsMax } = this.#bounds
    const call = () => Promise.resolve(this.#inner.launch(profile, clock, hints))
    let launching: Promise<Sandbox> | undefined
    try {
      launching = callWithin(call, loopMsMax)
      return checkSandbox(await boundedCall(launching, launchMsMax, 'its launch'))
    } catch (cause) {
      void launching?.then((late) => late[Symbol.asyncDispose]()).catch(() => undefined)
      throw unavailable(this.name, cause)
    }
  }

  #release(): void {
    this.#live -= 1
    if (this.#isRetired && this.#live === 0) void this.close()
  }

  /** The same sandbox under the name of this provider, by which other rooms look up its abilities. */
  #named(inner: Sandbox): Sandbox {
    const release = once(() => this.#release())
    const { disposeMsMax } = this.#bounds
    const keepsAlive = true
    const own = {
      provider: this.name,
      tightens: inner.tightens ?? this.tightens,
      async [Symbol.asyncDispose]() {
        try {
          const disposal = Promise.try(() => inner[Symbol.asyncDispose]())
          await boundedCall(disposal, disposeMsMax, 'its disposal', { keepsAlive })
        } finally {
          release()
        }
      },
    }
    // The target has no members of its own: those of a frozen sandbox could not be replaced.
    return new Proxy(Object.create(inner) as Sandbox, {
      get(_, key) {
        if (Object.hasOwn(own, key)) return Reflect.get(own, key)
        const value: unknown = Reflect.get(inner, key, inner)
        return typeof value === 'function' ? value.bind(inner) : value
      },
    })
  }
}

function unavailable(name: string, cause: unknown): unknown {
  if (cause instanceof MayflyError) return cause
  const message = `Cannot use provider "${name}": ${messageOf(cause)}`
  const hint = 'Ask again, or name another provider'
  return new MayflyError('UNAVAILABLE', message, { cause, hint })
}

function once(call: () => void): () => void {
  let isCalled = false
  return () => {
    if (!isCalled) call()
    isCalled = true
  }
}
