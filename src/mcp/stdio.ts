import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import type { Assembly } from '../assemble/assemble.ts'
import { openAgentParts } from './agent-parts.ts'
import { ownHost } from './own-host.ts'
import { serverSdk } from './protocol-sdk.ts'
import { makeServer } from './server.ts'
import { toolsFor } from './offered-tools.ts'

/** Maximum size of a message, which may contain a file. */
const MESSAGE_BYTES_MAX = 16 * 2 ** 20

export interface StdioParts {
  readonly assembly: Assembly
  readonly version: string
  readonly startProgram: (name: string) => Promise<Socket>
  readonly input: Readable
  readonly output: Writable
  readonly stopped: Promise<unknown>
  /** Receives protocol errors and unexpected exceptions; never throws. */
  readonly report: (error: unknown) => void
}

/** Serves one client on a pair of streams, until the input ends or `stopped` resolves. */
export async function serveOnStdio(parts: StdioParts): Promise<void> {
  const { assembly, version, input, output, stopped, report, startProgram } = parts
  const agents = openAgentParts({ assembly, version, startProgram })
  const host = ownHost(assembly, agents)
  const offered = toolsFor(host)
  const { serveStdio, StdioServerTransport } = serverSdk()
  const transport = new StdioServerTransport(input, output, { maxBufferSize: MESSAGE_BYTES_MAX })
  const ended = Promise.race([once(input, 'end'), once(input, 'close'), once(output, 'close')])
  const served = serveStdio(() => makeServer({ host, tools: offered, version, broke: report }), {
    transport,
    onerror: report,
  })
  const { onclose } = transport
  const closed = Promise.withResolvers<void>()
  transport.onclose = () => {
    onclose?.()
    closed.resolve()
  }
  // A disconnected client closes its end; EPIPE of a write adds no information.
  await Promise.race([ended, closed.promise, stopped]).catch(report)
  await served.close()
  await agents.close()
}
