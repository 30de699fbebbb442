/** A kind of zone that begins where one of its programs is executed, and what it is held to at first. */
export interface ZoneRule extends ZoneBounds {
  readonly kind: string
  /** Names or absolute paths; `*` stands for anything. They are compared with, and never opened. */
  readonly programs: readonly string[]
  /** Milliseconds after which it is ended, whoever else forgets it. */
  readonly life: number
}

/** What a zone is held to; what is left out is as it is around it. */
export interface ZoneBounds {
  readonly memory?: number
  readonly cpu?: number
  readonly processes?: number
}
