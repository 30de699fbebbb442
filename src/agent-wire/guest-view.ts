import type { AgentLink } from './agent-link.ts'
import { GuestInspector } from './guest-inspector.ts'
import { archiveBytesMax, viewFiles } from './view-files.ts'
import { viewProcesses } from './view-processes.ts'
import { viewSockets } from './view-sockets.ts'

/**
 * Parts of a capture that the guest's agent reports: processes, sockets and written files.
 *
 * Trust: none. A job that took over the agent or the guest's kernel reports what it likes; the copy of the memory, taken by the host, is
 * the evidence, and these parts make it readable without a memory forensics tool. Every part says `trust: guest`.
 *
 * Relies on frozen job processes: otherwise processes and files change while they are listed. Bounds: time, number of requests, and
 * bytes of all parts together.
 */
export interface ViewPart {
  readonly name: string
  readonly bytes: Uint8Array
}

export const viewParts = {
  processes: 'guest-processes.json',
  sockets: 'guest-sockets.json',
  archive: 'guest-files.tar',
  files: 'guest-files.json',
} as const

/** Limit of all parts: the archive, and lists of a few thousand names. */
export const viewBytesMax = archiveBytesMax + 8 * 2 ** 20

const NO_ANSWER = 'the guest did not report its processes, sockets and files'

/**
 * Yields chunks of parts, those of one part in a row, and returns the reasons why parts are missing or incomplete. Never rejects: a guest
 * that does not answer, or whose answers break the protocol, is one of the reasons.
 */
export async function* viewGuest(
  agent: Pick<AgentLink, 'ask'>,
  msMax: number,
): AsyncGenerator<ViewPart, readonly string[]> {
  const deadline = performance.now() + msMax
  try {
    // Half of the time, so that a fork bomb does not hide the files.
    const processes = await viewProcesses(new GuestInspector(agent, { msMax: msMax / 2 }))
    yield { name: viewParts.processes, bytes: json(processes) }
    const inspector = new GuestInspector(agent, { msMax: deadline - performance.now() })
    const sockets = await viewSockets(inspector, processes.processes)
    yield { name: viewParts.sockets, bytes: json(sockets) }
    const files = yield* archiveChunks(viewFiles(inspector))
    yield { name: viewParts.files, bytes: json(files) }
    const cut = Object.entries({ processes, sockets, files }).filter(([, one]) => !one.isWhole)
    return cut.map(([name]) => `the ${name} that the guest reported are incomplete`)
  } catch {
    return [NO_ANSWER]
  }
}

async function* archiveChunks<Result>(
  chunks: AsyncGenerator<Uint8Array, Result>,
): AsyncGenerator<ViewPart, Result> {
  for (;;) {
    const next = await chunks.next()
    if (next.done) return next.value
    if (next.value.length > 0) yield { name: viewParts.archive, bytes: next.value }
  }
}

const json = (value: object) => Buffer.from(JSON.stringify({ format: 1, trust: 'guest', ...value }))
