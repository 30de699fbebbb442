import { closeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CProgram, CProgramLookup } from '../../../jail/c-program.ts'
import type { TemplateJail } from '../../../jail/forked.ts'
import { endStrays } from '../../../os/spawned-child.ts'
import { templateName, Zygote, type ForkRequest, type TemplateParts } from './zygote.ts'

/**
 * Templates of programs. A template is started when walls are requested repeatedly, replaced after a number of forks or
 * a time, because its children share the random values of one exec (address layout, hash seed), and ended when it is
 * idle. Without a template, while it starts, and when it fails, walls are started by an exec.
 */
export interface ZygoteParts {
  readonly launcher: () => CProgram | undefined
  readonly openLibrary: () => Promise<CProgramLookup>
  /** For tests: starts a template in place of a real one. */
  readonly start?: (
    parts: TemplateParts,
  ) => Pick<Zygote, 'pid' | 'ready' | 'gone' | 'isAlive' | 'surroundings' | 'fork' | 'close'>
  /** True to start a template for the first wall, which waits for it. */
  readonly isEager?: boolean
  /** Milliseconds. */
  readonly now?: () => number
  /** Mutex of forks, shared by all templates of one warden: a forked child is identified as the only new one. */
  readonly forks?: { last: Promise<unknown> }
}

/** Forks, and milliseconds, after which a template is not used any more. */
export const templateForksMax = 200
export const lifeMsMax = 60_000
/** Forks, and milliseconds, after which its successor is started. */
const forksUsual = 150
const lifeMsUsual = 45_000
/** Number of requests within `wantedMs` that starts a template: its start costs as much as three walls. */
const wantedLeast = 3
const wantedMs = 10_000
const retryMsMin = 5_000
/** A killed template is gone at once unless the machine is busy. */
const goneMsMax = 1_000
const retryMsMax = 600_000

/** A forked process, with the namespaces of its template. */
export interface ForkedProcess {
  readonly pid: number
  readonly from: readonly string[]
}

type Started = ReturnType<NonNullable<ZygoteParts['start']>>

interface Template {
  readonly zygote: Started
  readonly key: string
  readonly since: number
  forks: number
}

export class Zygotes {
  readonly #parts: ZygoteParts
  readonly #now: () => number
  #current: Template | undefined
  #starting: Started | undefined
  /** Resolves when the starting template can fork, or has failed. */
  #started: Promise<void> = Promise.resolve()
  #library: CProgramLookup | undefined
  #opening: Promise<void> | undefined
  #asked: readonly number[] = []
  #retryAt = 0
  #retryMs = retryMsMin
  readonly #forks: { last: Promise<unknown> }
  #expiry: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(parts: ZygoteParts) {
    this.#parts = parts
    this.#now = parts.now ?? (() => performance.now())
    this.#forks = parts.forks ?? { last: Promise.resolve() }
  }

  /** True if a wall of this kind can be forked now. Starts a template in advance if requests are frequent. */
  async has(jail: TemplateJail): Promise<boolean> {
    this.#asked = [...this.#asked, this.#now()].slice(-wantedLeast)
    if (this.#isReady(jail)) return true
    if (!this.#parts.isEager) return false
    await this.#opening
    this.#isReady(jail)
    await this.#started
    return this.#isReady(jail)
  }

  #isReady(jail: TemplateJail): boolean {
    const now = this.#now()
    const key = keyOf(jail)
    if (this.#current && !isUsable(this.#current, key, now)) this.#drop()
    const { forks = Infinity, since = -Infinity } = this.#current ?? {}
    if (forks >= forksUsual || now - since >= lifeMsUsual) this.#startAhead(jail, key, now)
    return this.#current !== undefined
  }

  /**
   * Forks a wall after `has` was true. Throws if there is no usable template, and MayflyError UNAVAILABLE if the
   * template failed; a partly forked wall is killed then.
   */
  async fork(jail: TemplateJail, request: ForkRequest): Promise<ForkedProcess> {
    const forked = this.#forks.last.then(() => this.#fork(keyOf(jail), request))
    this.#forks.last = forked.catch(() => undefined)
    return await forked
  }

  /** Reports that a forked wall failed its proof or its start: the template is dropped. */
  refuse(): void {
    this.#drop()
    this.#wait()
  }

  /** Reports that a forked wall passed its proof: resets the back-off. */
  confirm(): void {
    this.#retryMs = retryMsMin
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const ending = [this.#current?.zygote, this.#starting].filter((one) => one !== undefined)
    this.#drop()
    this.#starting?.close()
    await this.#forks.last
    await this.#opening
    await Promise.race([
      Promise.all(ending.map(({ gone }) => gone)),
      sleep(goneMsMax, undefined, { ref: false }),
    ])
    if (this.#library && 'fd' in this.#library) closeSync(this.#library.fd)
    this.#library = undefined
  }

  async #fork(key: string, request: ForkRequest): Promise<ForkedProcess> {
    const template = this.#current
    // Race: other forks may have used it up, or a template with another root may have replaced it.
    const isOver = !template || !isUsable(template, key, this.#now())
    if (isOver) throw new Error('there is no template')
    template.forks++
    try {
      const from = template.zygote.surroundings
      return { pid: await template.zygote.fork(request), from }
    } catch (error) {
      // A child may exist whose pid was not reported.
      await template.zygote.gone
      if (template.zygote.pid !== undefined) endStrays(templateName(template.zygote.pid))
      this.refuse()
      throw error
    }
  }

  #startAhead(jail: TemplateJail, key: string, now: number): void {
    const isWanted =
      this.#parts.isEager ||
      (this.#asked.length === wantedLeast && now - this.#asked[0]! <= wantedMs)
    const launcher = this.#parts.launcher()
    if (!isWanted || !launcher || this.#starting || this.#isClosed || now < this.#retryAt) return
    if (!this.#library) return this.#open()
    if ('missing' in this.#library) return
    const start = this.#parts.start ?? ((parts: TemplateParts) => new Zygote(parts))
    const zygote = start({ jail, launcher, library: this.#library })
    this.#starting = zygote
    this.#started = zygote.ready.then(
      () => this.#replace(zygote, key),
      () => this.#failToStart(),
    )
  }

  #open(): void {
    this.#opening ??= this.#openLibrary()
  }

  async #openLibrary(): Promise<void> {
    this.#library = await this.#parts.openLibrary()
    this.#opening = undefined
  }

  #replace(zygote: Started, key: string): void {
    this.#starting = undefined
    if (this.#isClosed || !zygote.isAlive) return zygote.close()
    this.#drop()
    this.#current = { zygote, key, since: this.#now(), forks: 0 }
    this.#expiry = setTimeout(() => this.#drop(), lifeMsMax).unref()
  }

  #failToStart(): void {
    this.#starting = undefined
    this.#wait()
  }

  /** Backs off; concurrent failures count once. */
  #wait(): void {
    const now = this.#now()
    if (now < this.#retryAt) return
    this.#retryAt = now + this.#retryMs
    this.#retryMs = Math.min(retryMsMax, this.#retryMs * 2)
  }

  /** Closes the current template after its fork in flight. */
  #drop(): void {
    const dropped = this.#current
    clearTimeout(this.#expiry)
    this.#current = undefined
    if (dropped) void this.#forks.last.then(() => dropped.zygote.close())
  }
}

function isUsable({ zygote, key, since, forks }: Template, wanted: string, now: number): boolean {
  return zygote.isAlive && key === wanted && forks < templateForksMax && now - since < lifeMsMax
}

function keyOf({ args }: TemplateJail): string {
  return args.join('\0')
}
