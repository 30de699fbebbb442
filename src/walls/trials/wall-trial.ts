import type { Profile } from '../../contract/profile.ts'
import type { TaskEnd } from '../../contract/provider.ts'

/** Runs a guest behind the wall under trial. */
export type GuestRun = (code: string, limits?: Partial<Profile['limits']>) => Promise<GuestEnd>

export interface GuestEnd extends TaskEnd {
  /** Output and result of the guest. */
  readonly text: string
  /** Milliseconds from the release of its code to its end, by the clock of this host. */
  readonly ranMs: number
}

/** Things on this machine that a guest is to reach for, and whether it did. */
export interface Bait {
  readonly facts: {
    readonly canary: string
    readonly mark: string
    readonly port: number
    readonly pid: number
    readonly names: readonly string[]
  }
  /** Connections to the listener. */
  connections(): number
  isMarked(): boolean
  /** Whether the text of the canary is in this text. */
  isSeen(text: string): boolean
}

export type WallTrial = readonly [
  wall: string,
  how: string,
  holds: (run: GuestRun, bait: Bait) => Promise<boolean>,
]
