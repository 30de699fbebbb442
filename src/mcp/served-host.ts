import { addAbortListener } from 'node:events'
import type { ExecutionExplanation } from '../assemble/assemble.ts'
import type { Job, JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { SessionAsked } from '../contract/session.ts'
import { openHeld, ownSession } from '../gateway/doors/sessions.ts'
import type { Identity } from '../gateway/http/keys.ts'
import { metered } from '../gateway/http/metered.ts'
import type { McpParts } from '../gateway/http/parts.ts'
import { startJob } from '../gateway/http/start-job.ts'
import { newJob } from '../job.ts'
import { parseJson } from '../lib/parse-json.ts'
import { execJob, readExec, readSession, sessionJob } from '../sessions/session-job.ts'
import type { AgentParts } from './agent-parts.ts'
import type { ToolCaller, ToolFiles, ToolHost } from './tool-host.ts'

export interface ServedHostParts extends McpParts {
  readonly explain: (job: Job) => Promise<ExecutionExplanation>
  readonly agents: AgentParts
  readonly hasNetwork: () => boolean
}

/** Tool host of `/mcp` for the owner of one key: with the same job slots, quotas and history as the HTTP API. */
export function servedHost(
  parts: ServedHostParts,
  who: Identity,
  trace: Pick<Job, 'traceparent'>,
): ToolHost {
  const { clock } = parts
  const { tenant, principal } = who
  const owner = { tenant, principal, origin: 'mcp', ...trace } as const
  const find = (id: string) => ownSession(parts, who, id)
  const own = parts.agents.of(tenant, principal)
  return {
    ...own,
    readKept(run, path) {
      const bytes = own.kept.find(run, path)
      parts.quotas.transfer(tenant, bytes?.length ?? 0)
      return bytes
    },
    get hasNetwork() {
      return parts.hasNetwork()
    },
    run: (request: JobRequest, caller) =>
      started(parts, newJob(request, owner, clock), caller, own),
    async open(request, signal) {
      parts.running.refuseWhenDraining()
      const asked: SessionAsked & ReturnType<typeof readSession> = readSession(request)
      const opened = await openHeld(parts, { job: sessionJob(asked, owner, clock), asked })
      if (opened.kind === 'ended') return opened
      const { held } = opened
      // The client is gone and does not know the id, so the session is unreachable.
      if (signal.aborted) await held.close()
      return { kind: 'open', id: held.session.id }
    },
    async exec(id, request, caller) {
      const held = find(id)
      const job = execJob(readExec(request), { id, asked: held.asked }, owner, clock)
      const road: McpParts['road'] = (one, listening) => {
        parts.live.runs(one.id)
        return held.exec(one, listening)
      }
      return await started({ ...parts, road }, job, caller, own)
    },
    files: (id) => countedFiles(parts, tenant, find(id).session.files),
    end: (id) => find(id).close(),
    explain: (request) => {
      const job = newJob(request, owner, clock)
      return metered(parts, job, () => parts.explain(job))
    },
  }
}

/** Runs a job with live output to the caller; cancels it when the caller disconnects. */
async function started(
  parts: McpParts,
  job: Job,
  { signal, tap, hostCalls }: ToolCaller,
  { kept }: Pick<ToolHost, 'kept'>,
): Promise<Outcome> {
  const road: McpParts['road'] = (asked, caller) =>
    parts.road(asked, {
      ...caller,
      hostCalls: hostCalls?.(asked.id),
      files(beside) {
        caller.files?.(beside)
        kept.keep(asked.id, beside)
      },
    })
  const one = startJob({ ...parts, road }, job, {
    send(name, data) {
      if (name !== 'stdout' && name !== 'stderr') return
      const { text = '' } = parseJson(data) as { readonly text?: string }
      void tap(name, text)
    },
  })
  using _cancelling = addAbortListener(signal, () => one.cancel())
  try {
    const { outcome } = await one.ended
    return outcome
  } finally {
    one.answered()
  }
}

/** Charges transferred bytes of files to the quota of the tenant, as at `/v1/sandboxes/{id}/files`. */
function countedFiles({ quotas }: McpParts, tenant: string, files: ToolFiles): ToolFiles {
  return {
    list: (path) => files.list(path),
    async put(path, bytes) {
      quotas.transfer(tenant, bytes.length)
      await files.put(path, bytes)
    },
    async get(path, most) {
      quotas.transfer(tenant, 0)
      const bytes = await files.get(path, most)
      quotas.transfer(tenant, bytes.length)
      return bytes
    },
  }
}
