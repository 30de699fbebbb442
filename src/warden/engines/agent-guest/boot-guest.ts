import type { Socket } from 'node:net'
import { closing } from '../../refusals.ts'
import { AgentLink } from '../../../agent-wire/agent-link.ts'
import type { GuestCopy, VmmProcess, LiveMachine, MachineKey } from './source.ts'
import { startRunner } from './start-runner.ts'
import type { StartingGuests } from './starting-guests.ts'

/** A forked guest, owned by its source until it has booted. */
export interface BootingGuest extends VmmProcess {
  readonly channel: Socket
  takeJobChannel(): Socket
  release(): Promise<void>
  /** Error of a failed start, with the output of the process. */
  startError(cause: unknown): unknown
}

export interface GuestBoot<Guest> {
  readonly takes: StartingGuests<Guest & BootingGuest>
  /** Milliseconds until the agent's `hello`. */
  readonly helloMsMax: number
  /** Starts the processors of the guest. */
  readonly go?: () => Promise<unknown>
  /** Called once the runner is parked. */
  readonly up?: () => void
  /** Copies memory and devices of the guest. */
  readonly copy?: GuestCopy
  /** Digest of its root image. */
  readonly image: string
}

/** Waits for the agent and for a parked runner. Releases the guest before it throws the error of `startError`, or DRAINING. */
export async function bootGuest<Guest extends BootingGuest>(
  guest: Guest,
  key: MachineKey,
  { takes, helloMsMax, go, up, copy, image }: GuestBoot<Guest>,
): Promise<LiveMachine<Guest>> {
  using _starting = takes.track(guest)
  try {
    takes.refuseIfClosed()
    const agent = new AgentLink(guest.channel)
    await go?.()
    await agent.take('hello', helloMsMax)
    await startRunner(agent, key)
    up?.()
    return { ...liveMachine(guest, agent, { origin: 'boot', image }), ...(copy && { copy }) }
  } catch (error) {
    await guest.release()
    throw takes.isClosed ? closing() : guest.startError(error)
  }
}

/** Machine of a booted guest, as a source returns it. */
export function liveMachine<Guest extends Omit<BootingGuest, 'channel' | 'startError'>>(
  guest: Guest,
  agent: AgentLink,
  { origin, image }: Pick<LiveMachine, 'origin' | 'image'>,
): LiveMachine<Guest> {
  return {
    process: guest,
    agent,
    image,
    origin,
    takeJobChannel: () => guest.takeJobChannel(),
    release: () => guest.release(),
  }
}
