import type { Socket } from 'node:net'
import { closing } from '../../refusals.ts'
import { AgentLink } from '../../../agent-wire/agent-link.ts'
import type { GuestCopy, VmmProcess, LiveMachine, MachineKey } from './source.ts'
import { startRunner } from './start-runner.ts'
import type { StartingGuests } from './starting-guests.ts'

/** A guest that was forked, and that its source owns until it is up. */
export interface BootingGuest extends VmmProcess {
  readonly channel: Socket
  takeJobChannel(): Socket
  release(): Promise<void>
  /** Error of a start that failed, with what was said. */
  failed(cause: unknown): unknown
}

export interface GuestBoot<Guest> {
  readonly takes: StartingGuests<Guest & BootingGuest>
  /** Milliseconds until the agent's `hello`. */
  readonly helloMsMax: number
  /** Lets the guest run. */
  readonly go?: () => Promise<unknown>
  /** Called once the runner is parked. */
  readonly up?: () => void
  /** Copies the guest. */
  readonly copy?: GuestCopy
  /** Digest of the image that is its root. */
  readonly image: string
}

/** Waits for agent and parked runner. Releases the guest before it throws what `failed` says, or DRAINING. */
export async function bootGuest<Guest extends BootingGuest>(
  guest: Guest,
  key: MachineKey,
  { takes, helloMsMax, go, up, copy, image }: GuestBoot<Guest>,
): Promise<LiveMachine<Guest>> {
  takes.track(guest)
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
    throw takes.isClosed ? closing() : guest.failed(error)
  } finally {
    takes.forget(guest)
  }
}

/** A guest that is up, as a source gives it out. */
export function liveMachine<Guest extends BootingGuest>(
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
