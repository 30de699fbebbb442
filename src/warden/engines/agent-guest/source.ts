import type { Socket } from 'node:net'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import type { ConversationState } from '../../../agent-wire/conversation.ts'
import type { MemoryBase } from '../../../contract/warden.ts'
import type { MachineSave } from '../../../contract/machine-save.ts'
import type { Cgroup } from '../../../os/cgroup-interface.ts'
import type { ProcessIdentity } from '../../../os/proc.ts'

/**
 * Interface between an engine and the source of its machines.
 *
 * A source returns running machines with a parked runner that waits for one job: booted cold, or cloned from a template. A
 * machine holds no data of a tenant, and is returned once. The engine does everything after that: the claim (which reseeds the
 * guest), the limits, the end.
 *
 * A machine has two channels, each a socket pair with one end in the guest. The warden speaks the agent protocol on the first;
 * the second, `job`, is passed to the server unread and carries all data of the job in frames of the carrier
 * (`guest/carrier/wire.h`). A template is saved while that channel is idle: a parked runner has sent and received nothing on it.
 */
export interface MachineSource<Process extends VmmProcess = VmmProcess> {
  /**
   * Takes a machine of this key. Releases everything before it rejects with MayflyError (UNAVAILABLE with cause and hint,
   * OVERLOADED, or DRAINING after `close`).
   */
  take(key: MachineKey): Promise<LiveMachine<Process>>
  /** Resumes a machine from a save. Absent where machines are not saved. Rejects as `take` does. */
  resume?(save: MachineSave): Promise<IncomingMachine<Process>>
  /** Ends starts in flight and waits for them; machines already taken belong to their callers. */
  close(): Promise<void>
}

/** Machines of equal keys are interchangeable. */
export interface MachineKey {
  readonly program: 'node' | 'python'
  /** Whether its runner runs a dummy job before it parks. */
  readonly isWarm: boolean
  /** Memory of the guest. */
  readonly memoryMiB: number
  /** Size in bytes of each tmpfs that programs write to. */
  readonly scratchBytes: number
  /** Digest of its root image; by default the image tagged for its program. */
  readonly image?: string
  /** Tests only: programs run as root of the guest. */
  readonly isRoot?: true
  /** Tests only: AppArmor does not confine its programs. */
  readonly isUnconfined?: true
}

/** The jailed host process that runs a guest: a virtual machine monitor, or a user-mode kernel. */
export interface VmmProcess {
  readonly id: string
  readonly uid: number | undefined
  /** Host processes of the jail, outermost first. */
  readonly processes: readonly ProcessIdentity[]
  readonly cgroup: Cgroup | undefined
  /** Resolves when it has exited; never rejects. */
  readonly ended: Promise<VmmEnd>
  /** Sends SIGKILL to each of its processes. Idempotent. */
  kill(): void
  /** Resolves once the guest executes no more instructions. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** Limits the rate at which the guest reads its disk; absent if nothing can. */
  limitDisk?(bytesASecond: number): Promise<void>
  /** Host memory in bytes, of the guest and of the process itself. Throws if it has exited. */
  memory(): number
}

export interface VmmEnd {
  readonly exitCode: number | null
  readonly signal: string | null
  /** Last bytes of its standard error, unparsed and untrusted. */
  readonly said: string
}

export interface LiveMachine<Process extends VmmProcess = VmmProcess> {
  /** The jailed process, with its cgroup, its lease and the controls of the guest. */
  readonly process: Process
  /** Connection to the agent, which has sent `hello` and started the carrier as program `carrierProgram`; not claimed yet. */
  readonly agent: AgentLink
  /** Hands over the host end of the job's channel, which the caller then owns. */
  takeJobChannel(): Socket
  /** Digest of the image that is its root. */
  readonly image: string
  /** How it was started, for the operator. */
  readonly origin: 'boot' | 'clone'
  /** Reason why it was booted although a clone was requested. */
  readonly whyBooted?: string
  /** Copies its memory and devices; absent if the engine cannot. */
  readonly copy?: GuestCopy
  /** Makes further machines of it while it runs; absent if the engine cannot. */
  readonly forker?: MachineForker
  /** Kills it and releases all its resources. Idempotent. */
  release(): Promise<void>
}

/** A machine whose save is awaited. */
export interface IncomingMachine<Process extends VmmProcess = VmmProcess> {
  /** Sender's end of the socket for the save. */
  readonly socket: Socket
  readonly resumed: Promise<ResumedMachine<Process>>
}

/** A machine that stands where its save was made, stopped. */
export interface ResumedMachine<Process extends VmmProcess = VmmProcess> {
  readonly process: Process
  readonly save: MachineSave
  /** Channel of its agent. The job's channel stays here, unread: the guest has no server and no network. */
  takeAgentChannel(): Socket
  release(): Promise<void>
}

export interface MachineForker {
  /** Does all that can be done while the machine runs. Rejects with MayflyError UNAVAILABLE; nothing is left then. */
  prepare(): Promise<ForkDraft>
}

export interface ForkDraft {
  /** Saves the machine, which is paused meanwhile. Rejects with MayflyError UNAVAILABLE. */
  save(): Promise<MachineFork>
  /** For a draft that was not saved. */
  remove(): Promise<void>
}

/** Save of a paused machine, of which machines are started. */
export interface MachineFork {
  /** Starts one, stopped, whose agent stands at `position`. Rejects as `take` does; nothing is left then. */
  start(position: ConversationState): Promise<LiveMachine>
  /** Removes the save, once a start in flight is over; its machines go on. */
  release(): Promise<void>
}

export interface GuestCopy {
  /** Whether a machine can be resumed from it, once it is whole. */
  readonly isResumable: boolean
  /** File to which the copied memory is a difference; absent if the copy is complete. */
  readonly base?: MemoryBase | undefined
  /**
   * Files of a copy of a paused guest, in pieces; the pieces of a file are consecutive. At most `bytesMax` bytes in all. Returns
   * the parts that were left out. Rejects with Error.
   */
  files(bytesMax: number): AsyncGenerator<GuestFile, CopyBounds>
}

export interface CopyBounds {
  /** False if it was truncated at `bytesMax`. */
  readonly isWhole: boolean
  /** Parts missing for other reasons, as texts for the outcome. */
  readonly lacks: readonly string[]
}

export interface GuestFile {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Program number of the carrier at the agent; the carrier exits with the runner. */
export const carrierProgram = 1
