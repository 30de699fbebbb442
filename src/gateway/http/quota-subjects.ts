import { createHmac, randomBytes } from 'node:crypto'

/** Subject of quotas: a tenant, or one visitor of its pages by token or by address. */
export interface QuotaSubject {
  /** Name in memory and in the store. No tenant has a "#" in its name. */
  readonly name: string
  readonly kind: 'tenant' | 'token' | 'address'
  readonly tenant: string
  /** Levels survive a restart. Tokens do not: each start has a secret of its own. */
  readonly isStored: boolean
}

/** Visitors with quotas of their own at a time, by token or address. */
const visitorsMax = 8192
/** Subjects that all further visitors share, of each kind. */
const sharedMax = 256
const SWEEP_MS_MIN = 1000

export function tenantSubject(tenant: string): QuotaSubject {
  return { name: tenant, kind: 'tenant', tenant, isStored: true }
}

/**
 * Assigns quota subjects to visitors. An attacker gets visitors for free: tokens by loading a page, addresses by owning a
 * network. Memory is bounded without forgiving debts: only idle subjects are evicted, whose
 * buckets are full again. While the table is full, a new visitor shares the quotas of one of a few
 * subjects until these are idle. A keyed hash selects the subject, so that an attacker cannot choose
 * whose quota to exhaust.
 */
export class VisitorSubjects {
  readonly #known = new Map<string, QuotaSubject>()
  readonly #secret = randomBytes(32)
  readonly #isIdle: (subject: QuotaSubject) => boolean
  readonly #max: number
  #sweptAt = -Infinity

  constructor(isIdle: (subject: QuotaSubject) => boolean, max: number = visitorsMax) {
    this.#isIdle = isIdle
    this.#max = max
  }

  get isFull(): boolean {
    return this.#known.size >= this.#max
  }

  of(tenant: string, kind: 'token' | 'address', id: string): QuotaSubject {
    const name = `${tenant}#${kind}:${id}`
    const known = this.#known.get(name)
    if (known) return known
    const slot = `${tenant}#${kind}:~${this.#slotOf(name)}`
    const shared = { name: slot, kind, tenant, isStored: false }
    if (this.isFull || !this.#isIdle(shared)) return shared
    const fresh = { name, kind, tenant, isStored: kind === 'address' }
    this.#known.set(name, fresh)
    return fresh
  }

  /** Drops the idle subjects, at most once a second, and returns them. */
  sweep(now: number): readonly QuotaSubject[] {
    if (now < this.#sweptAt + SWEEP_MS_MIN) return []
    this.#sweptAt = now
    const idle = [...this.#known.values()].filter(this.#isIdle)
    for (const { name } of idle) this.#known.delete(name)
    return idle
  }

  #slotOf(name: string): number {
    return createHmac('sha256', this.#secret).update(name).digest().readUInt32BE() % sharedMax
  }
}
