import { MayflyError } from '../contract/error.ts'
import type { SessionFiles } from '../contract/exec.ts'
import type { SandboxSession } from '../contract/provider.ts'
import { cutShort } from '../contract/task-end.ts'
import {
  type OutputScanParts,
  StreamScanner,
  findsToken,
  reasonToWithhold,
} from './observe-guest.ts'

/**
 * Wraps a session to scan its outputs for honeytokens: ends of execs, files read by the owner, and terminals. Output
 * streams of execs are scanned by `observeGuest`, like those of every life.
 */
export function observeSession(
  session: SandboxSession,
  run: string,
  parts: OutputScanParts,
): SandboxSession {
  if (parts.tokens(run).length === 0) return session
  const { terminal, drain, fork } = session
  return {
    ready: session.ready,
    get mayPrint() {
      return session.mayPrint ?? false
    },
    files: scannedFiles(session.files, run, parts),
    ...(drain && { drain: () => drain.call(session) }),
    ...(fork && { fork: (children: number) => fork.call(session, children) }),
    async exec(task, signal) {
      const ended = await session.exec(task, signal)
      const reason = reasonToWithhold(ended.end, run, parts)
      if (reason === undefined) return ended
      return { ...ended, end: cutShort({ status: 'terminated', reason }, ended.end) }
    },
    ...(terminal && {
      terminal(task, print) {
        const scanner = new StreamScanner(run, parts, 'output')
        return terminal.call(session, task, (chunk) =>
          scanner.findsToken(chunk) ? undefined : print(chunk),
        )
      },
    }),
    close: () => session.close(),
  }
}

/** An unchanged planted file may be read by the owner, who cannot know that it is planted: this is not a leak. */
function scannedFiles(files: SessionFiles, run: string, parts: OutputScanParts): SessionFiles {
  const planted = parts.tokens(run).flatMap(({ file }) => (file ? [Buffer.from(file.content)] : []))
  const check = (path: string, bytes: Uint8Array) => {
    if (!findsToken(run, parts, 'file', bytes)) return
    throw new MayflyError('FORBIDDEN', `Cannot read "${path}": it carries a planted secret`)
  }
  return {
    put: (path, bytes) => files.put(path, bytes),
    async get(path, bytesMax) {
      const bytes = await files.get(path, bytesMax)
      if (!planted.some((own) => own.equals(bytes))) check(path, bytes)
      return bytes
    },
    async list(path) {
      const listing = await files.list(path)
      check(path, Buffer.from(listing.entries.map((entry) => entry.path).join('\n')))
      return listing
    },
  }
}
