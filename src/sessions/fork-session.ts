import { checked } from '../contract/checked.ts'
import type { Clock } from '../contract/clock.ts'
import { forkKeeps, forkRequest, type ForkAsked, type ForkedRow } from '../contract/fork.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { SessionFork } from '../contract/session.ts'
import type { OpenSession, OpenSessions } from './open-sessions.ts'
import { endedBeforeExec, sessionJob, type SessionOwner } from './session-job.ts'

/** A session's share of what its server and its tenant may have at once. */
export interface SessionPlace {
  readonly signal: AbortSignal
  /** Gives it back, with the outcome of the life if there was one. */
  end(outcome: Outcome | undefined, chargedMs?: number): void
}

export interface ForkParts {
  readonly clock: Clock
  readonly held: OpenSessions
  /** Takes a place for a child; throws MayflyError where there is none. */
  readonly place: (job: Job) => SessionPlace
}

/** Sessions that were made of one. */
export interface ForkedSessions {
  readonly parent: string
  readonly pausedMs: number
  readonly children: readonly OpenSession[]
}

/** Reads a request for a fork. Throws MayflyError INVALID. */
export function readFork(value: unknown): ForkAsked {
  return checked(forkRequest, value, 'fork')
}

/**
 * Forks a session: all children, or none. Places of all are taken before the parent is paused, so that a tenant at its limit pauses
 * nothing. Throws as `Session.fork` and the opening of a session do; children that were opened are ended then.
 */
export async function forkSession(
  parent: OpenSession,
  asked: ForkAsked,
  owner: SessionOwner,
  parts: ForkParts,
): Promise<ForkedSessions> {
  const jobs = Array.from({ length: asked.children }, () => childOf(parent, asked, owner, parts))
  const children = takePlaces(jobs, parts)
  let fork: SessionFork
  try {
    fork = await parent.fork(asked.children)
  } catch (error) {
    for (const { place } of children) place.end(undefined)
    throw error
  }
  try {
    const { pausedMs } = fork
    const opened = await Promise.allSettled(children.map((child) => open(child, fork, parts)))
    return { parent: parent.session.id, pausedMs, children: await allOpened(opened) }
  } finally {
    await fork.close()
  }
}

/** Answer of a fork, in which its losses are said. */
export function forkedRow({ parent, pausedMs, children }: ForkedSessions): ForkedRow {
  const rows = children.map(({ row }) => row)
  return { parent, pausedMs: Math.round(pausedMs), children: rows, ...forkKeeps }
}

interface Child {
  readonly job: Job
  readonly asked: OpenSession['asked']
  readonly place: SessionPlace
}

/** Files of its parent are in the guest already. */
function childOf(
  { asked: parent, session }: OpenSession,
  { limits = {}, ...given }: ForkAsked,
  owner: SessionOwner,
  { clock }: ForkParts,
): Omit<Child, 'place'> {
  const asked = {
    ...parent,
    files: [],
    provider: session.provider,
    limits: { ...parent.limits, ...limits },
    capabilities: given.capabilities ?? parent.capabilities,
    labels: given.labels ?? parent.labels,
    ...(given.network !== undefined && { network: given.network }),
    ...(given.timeout !== undefined && { timeout: given.timeout }),
    ...(given.idle !== undefined && { idle: given.idle }),
  }
  const job = sessionJob(asked, owner, clock)
  return { job: { ...job, session: { kind: 'open', forkOf: session.id } }, asked }
}

function takePlaces(
  children: readonly Omit<Child, 'place'>[],
  { place }: ForkParts,
): readonly Child[] {
  const taken: Child[] = []
  try {
    for (const child of children) taken.push({ ...child, place: place(child.job) })
    return taken
  } catch (error) {
    for (const child of taken) child.place.end(undefined)
    throw error
  }
}

async function open(
  { job, asked, place }: Child,
  fork: SessionFork,
  { held }: ForkParts,
): Promise<OpenSession> {
  let outcome: Outcome | undefined
  try {
    const opened = await fork.open(job, { signal: place.signal })
    if (opened.kind === 'ended') {
      ;({ outcome } = opened)
      throw endedBeforeExec(outcome)
    }
    const { session } = opened
    const one = held.add(session, job, asked)
    void session.ended.then(
      (ended) => place.end(ended, one.chargedMs),
      () => place.end(undefined),
    )
    return one
  } catch (error) {
    place.end(outcome)
    throw error
  }
}

async function allOpened(
  opened: readonly PromiseSettledResult<OpenSession>[],
): Promise<readonly OpenSession[]> {
  const children = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const failed = opened.find((one) => one.status === 'rejected')
  if (!failed) return children
  await Promise.allSettled(children.map((child) => child.close()))
  throw failed.reason
}
