import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import type { Assembly } from '../assemble/assemble.ts'
import { openAgentParts } from './agent-parts.ts'
import { ownHost } from './own-host.ts'
import { stdioSdk } from './protocol-sdk.ts'
import { makeServer } from './server.ts'
import { toolsFor } from './offered-tools.ts'

/** Largest message: a line of JSON with a file in it. */
const MESSAGE_BYTES_MAX = 16 * 2 ** 20

export interface StdioParts {
  readonly assembly: Assembly
  readonly version: string
  readonly startProgram: (name: string) => Promise<Socket>
  readonly input: Readable
  readonly output: Writable
  readonly stopped: Promise<unknown>
  /** Receives what is wrong with the client's messages, and bugs; never throws. */
  readonly report: (what: unknown) => void
}

/** Answers one client on a pair of streams, until its input ends or `stopped` resolves. */
export async function serveOnStdio(parts: StdioParts): Promise<void> {
  const { assembly, version, input, output, stopped, report, startProgram } = parts
  const agents = openAgentParts({ assembly, version, startProgram })
  const host = ownHost(assembly, agents)
  const offered = toolsFor(host)
  const { serveStdio, StdioServerTransport } = stdioSdk()
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
  // A client that is gone closes its end; the error of a write to it says nothing more.
  await Promise.race([ended, closed.promise, stopped]).catch(report)
  await served.close()
  await agents.close()
}
