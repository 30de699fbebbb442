import { addAbortListener } from 'node:events'
import type { Assembly } from '../assemble/assemble.ts'
import { grantsNetwork } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type { StoredFile } from '../history/history.ts'
import { newJob } from '../job.ts'
import type { OpenSession, SessionUser } from '../sessions/open-sessions.ts'
import { execJob, readExec, readSession, sessionJob } from '../sessions/session-job.ts'
import type { AgentParts } from './agent-parts.ts'
import type { ToolHost } from './tool-host.ts'

/** Maximum of concurrent calls of a stdio client. */
const CALLS_MAX = 32

const asker = { tenant: 'default', principal: 'mcp', origin: 'mcp' } as const
const user: SessionUser = { ...asker, isAdmin: false }

/** Tool host of `mayfly mcp` on stdio: the pipeline in this process, for the user who started it. */
export function ownHost(assembly: Assembly, agents: AgentParts): ToolHost {
  const { clock, sessions } = assembly
  const find = (id: string): OpenSession => sessions.held.find(id, user)
  let calls = 0
  const bounded = async <T>(work: () => Promise<T>): Promise<T> => {
    if (calls >= CALLS_MAX)
      throw new MayflyError('OVERLOADED', `Cannot accept more than ${CALLS_MAX} calls at a time`, {
        retryAfterMs: 1000,
      })
    calls++
    try {
      return await work()
    } finally {
      calls--
    }
  }
  const own = agents.of(asker.tenant, asker.principal)
  const keep = (run: string) => (files: readonly StoredFile[]) => own.kept.keep(run, files)
  return {
    ...own,
    readKept: (run, path) => own.kept.find(run, path),
    get hasNetwork() {
      return grantsNetwork(assembly.config.network)
    },
    run: (request, { hostCalls, ...caller }) =>
      bounded(() => {
        const job = newJob(request, asker, clock)
        return assembly.run(job, { ...caller, files: keep(job.id), hostCalls: hostCalls?.(job.id) })
      }),
    open: (request, signal) =>
      bounded(async () => {
        const asked = readSession(request)
        const job = sessionJob(asked, asker, clock)
        const opened = await openWhile(signal, (life) => sessions.open(job, { signal: life }))
        if (opened.kind === 'ended') return opened
        return { kind: 'open', id: sessions.held.add(opened.session, job, asked).session.id }
      }),
    exec: (id, request, caller) =>
      bounded(async () => {
        const held = find(id)
        const job = execJob(readExec(request), { id, asked: held.asked }, asker, clock)
        return await held.exec(job, { ...caller, files: keep(job.id) })
      }),
    files: (id) => find(id).session.files,
    end: (id) => find(id).close(),
    explain: (request) => bounded(() => assembly.explain(newJob(request, asker, clock))),
  }
}

/** Opens a session. The signal of the call cancels the opening, but does not end an open session. */
async function openWhile<T>(
  call: AbortSignal,
  open: (life: AbortSignal) => Promise<T>,
): Promise<T> {
  const life = new AbortController()
  using _ending = addAbortListener(call, () => life.abort())
  return await open(life.signal)
}
