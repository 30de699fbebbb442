import { MayflyError } from '../contract/error.ts'
import type { AgentLink } from './agent-link.ts'
import type { AgentMessageOf } from './decode.ts'
import type { AgentPhase } from './encode.ts'

/** Requests the status: a round trip to the agent, which reports its processes. */
export async function askStatus(
  agent: AgentLink,
  msMax: number,
): Promise<AgentMessageOf<'statused'>> {
  return await agent.ask({ kind: 'status' }, msMax)
}

/**
 * Freezes or thaws the programs of the job. Throws MayflyError UNAVAILABLE if the guest's kernel cannot freeze them; they continue
 * to run then.
 */
export async function holdJob(
  agent: Pick<AgentLink, 'ask'>,
  on: boolean,
  msMax: number,
): Promise<void> {
  const { errno } = await agent.ask({ kind: 'hold', on }, msMax)
  if (errno === 0) return
  throw new MayflyError('UNAVAILABLE', `Cannot freeze the programs of a guest: errno ${errno}`)
}

/** Sends a phase command; resolves with the number of affected processes. Throws MayflyError UNAVAILABLE if the guest's kernel refuses it. */
export async function askPhase(
  agent: AgentLink,
  command: AgentPhase,
  msMax: number,
): Promise<number> {
  const { errno, touched } = await agent.ask({ kind: 'phase', command }, msMax)
  if (errno === 0) return touched
  const what = command.do.replaceAll('-', ' ')
  throw new MayflyError('UNAVAILABLE', `Cannot ${what} in a guest: errno ${errno}`)
}
