import { MayflyError } from '../../../contract/error.ts'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import { isConfined, runnerCommand } from './runner.ts'
import type { MachineKey } from './source.ts'

/** Limit of each wait for the agent. An emulator on a busy machine may get a tenth of a processor. */
const START_MS_MAX = 120_000
const READY = 0x52
const SAID_CHARS_MAX = 300

/** Starts carrier and runner, and resolves once the runner is parked. Throws MayflyError UNAVAILABLE with its output. */
export async function startRunner(
  agent: AgentLink,
  key: MachineKey,
  isCloned = false,
): Promise<void> {
  agent.send(runnerCommand(key, { isCloned, isConfined: isConfined(agent, key) }))
  const said: Buffer[] = []
  for (;;) {
    const next = await agent.take(['output', 'ended', 'refused'], START_MS_MAX)
    if (next.kind === 'refused')
      throw notReady(`its start was refused (${next.stage}, errno ${next.errno})`)
    if (next.kind === 'output') said.push(next.bytes)
    // The runner has closed its readiness pipe, so the agent sends nothing more until the claim.
    else break
  }
  const text = Buffer.concat(said)
  if (text[0] !== READY) throw notReady(text.toString())
}

function notReady(said: string): MayflyError {
  const line = said.replace(/^E/, '').split('\n')[0]!.slice(0, SAID_CHARS_MAX)
  return new MayflyError('UNAVAILABLE', `Cannot start a runner in a machine: ${line || 'it ended'}`)
}
