import { MayflyError } from '../../../contract/error.ts'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import { isConfined, runnerCommand } from './runner.ts'
import type { MachineKey } from './source.ts'

/** Bounds each wait for the agent. An emulator on a machine that is busy with eight others gets a tenth of a processor. */
const START_MS_MAX = 120_000
const READY = 0x52
const SAID_CHARS_MAX = 300

/** Starts carrier and runner, and resolves once the runner is parked. Throws MayflyError UNAVAILABLE with what it said. */
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
    // The runner closes its readiness pipe: the conversation of a parked machine is at rest.
    else break
  }
  const text = Buffer.concat(said)
  if (text[0] !== READY) throw notReady(text.toString())
}

function notReady(said: string): MayflyError {
  const line = said.replace(/^E/, '').split('\n')[0]!.slice(0, SAID_CHARS_MAX)
  return new MayflyError('UNAVAILABLE', `Cannot start a runner in a machine: ${line || 'it ended'}`)
}
