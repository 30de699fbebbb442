import type { Socket } from 'node:net'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import type { MemoryBase } from '../../../contract/warden.ts'
import type { Cgroup } from '../../../os/cgroup-interface.ts'
import type { ProcessIdentity } from '../../../os/proc.ts'

/**
 * Seam between the engine and the source of its machines.
 *
 * A source gives machines that run, with a runner in them that is parked and waits for one job: booted cold for the purpose, or
 * cloned from a template. Nothing of a tenant is in one, and none is given out twice. Everything after that is the engine's:
 * the claim (which reseeds the guest), the bounds, the end.
 *
 * Channels of a machine, each a socket pair of which the guest has the other end: the agent's wire
 * is the warden's; `job` goes to the server, unread, and carries every byte of the job as frames of the carrier
 * (`guest/carrier/wire.h`). A template is saved while that channel is idle: a parked runner has said nothing on it and was
 * sent nothing.
 */
export interface MachineSource<Process extends VmmProcess = VmmProcess> {
  /**
   * StartingGuests a machine of this key. Releases everything before it rejects with MayflyError (UNAVAILABLE: no machine can be had,
   * with cause and hint; OVERLOADED; DRAINING after `close`).
   */
  take(key: MachineKey): Promise<LiveMachine<Process>>
  /** Ends starts in flight and waits for them; machines that were given out are their takers'. */
  close(): Promise<void>
}

/** Two machines of equal keys are interchangeable. */
export interface MachineKey {
  readonly program: 'node' | 'python'
  /** Whether its runner runs a dummy job before it parks. */
  readonly isWarm: boolean
  /** Memory of the guest. */
  readonly memoryMiB: number
  /** Bytes of each file system in memory that programs write to. */
  readonly scratchBytes: number
  /** Digest of the image that is its root; by default that which the tag of its program names. */
  readonly image?: string
  /** Tests only: programs run as root of the guest. */
  readonly isRoot?: true
  /** Tests only: AppArmor does not confine its programs. */
  readonly isUnconfined?: true
}

/** The process that holds a guest, in its jail. */
export interface VmmProcess {
  readonly id: string
  readonly uid: number | undefined
  /** Processes that hold it, outermost first. */
  readonly processes: readonly ProcessIdentity[]
  readonly cgroup: Cgroup | undefined
  /** Resolves after its last instruction; never rejects. */
  readonly ended: Promise<VmmEnd>
  /** SIGKILL for every process of it. Idempotent. */
  kill(): void
  /** Resolves once no instruction of the guest runs. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** Bounds the bytes a second that the guest reads of its disk; absent where nothing does. */
  limitDisk?(bytesASecond: number): Promise<void>
  /** Bytes that it holds of this host, its guest's together with its own. Throws where it is gone. */
  memory(): number
}

export interface VmmEnd {
  readonly exitCode: number | null
  readonly signal: string | null
  /** Last bytes of its standard error, unread. */
  readonly said: string
}

export interface LiveMachine<Process extends VmmProcess = VmmProcess> {
  /** The jailed process whose guest runs. It has the cgroup, the lease and what controls the guest. */
  readonly process: Process
  /** Conversation with the agent: it has said hello and started the carrier as program `carrierProgram`; not claimed. */
  readonly agent: AgentLink
  /** Host end of the job's channel. The engine takes it out of the machine by `takeJobChannel`. */
  takeJobChannel(): Socket
  /** Digest of the image that is its root. */
  readonly image: string
  /** How it came to be, for the operator. */
  readonly origin: 'boot' | 'clone'
  /** Cause for which it was booted where a clone was asked for. */
  readonly whyBooted?: string
  /** Copies it; absent where its holder cannot be looked into. */
  readonly copy?: GuestCopy
  /** Kills it and releases all that it holds. Idempotent. */
  release(): Promise<void>
}

export interface GuestCopy {
  /** File that the copied memory is a difference to; absent where the copy is complete without one. */
  readonly base?: MemoryBase | undefined
  /**
   * Files of a copy of a stopped guest, in pieces, those of one file together; `bytesMax` in all at most. Returns what was left out.
   * Rejects with Error.
   */
  files(bytesMax: number): AsyncGenerator<GuestFile, CopyBounds>
}

export interface CopyBounds {
  /** False where `bytesMax` ended it. */
  readonly isWhole: boolean
  /** Parts that it lacks for another reason, in words for the outcome. */
  readonly lacks: readonly string[]
}

export interface GuestFile {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Number of the carrier among the agent's programs; its end is the end of the runner. */
export const carrierProgram = 1
