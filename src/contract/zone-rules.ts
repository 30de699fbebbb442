/** A kind of zone that starts when one of its programs is executed, with its initial bounds. */
export interface ZoneRule extends ZoneBounds {
  readonly kind: string
  /** Names or absolute paths; `*` matches anything. Compared as text, never opened. */
  readonly programs: readonly string[]
  /** Deadline in milliseconds, enforced by the warden itself. */
  readonly life: number
}

/** Bounds of a zone; omitted ones are those of its parent. */
export interface ZoneBounds {
  readonly memory?: number
  readonly cpu?: number
  readonly processes?: number
}
