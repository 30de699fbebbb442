import type { TimelineEntry } from '../../contract/event.ts'
import type { Job } from '../../contract/job.ts'
import type { Outcome } from '../../contract/outcome.ts'
import type { ExecutionRow } from '../../history/history.ts'
import type { Door } from './door.ts'
import { listeners, type Send } from './frames.ts'
import { LiveOutput } from './live-output.ts'
import { LiveStory } from './live-story.ts'
import type { QuotaPlace } from './quota.ts'
import type { Ticket } from './running.ts'

/** A job on the road. */
export interface Undertaking {
  readonly id: string
  /** Rejects where there is no outcome to tell. */
  readonly ended: Promise<Ended>
  readonly cancel: () => void
  /** It is under way until its answer is written: a server that drains waits for that too. */
  readonly answered: () => void
}

export interface Ended {
  readonly outcome: Outcome
  /** The outcome as JSON. */
  readonly text: string
}

export interface Wishes {
  /** Who hears it live, and is waited for. */
  readonly send?: Send
  /** Whether `send` hears the plan of its life first. */
  readonly hearsPlan?: boolean
  /** Whether somebody may ask for it who does not wait here, so that it is written down before it starts. */
  readonly outlivesAsker?: boolean
  /** Told when nobody could run it, so that asking again may help. */
  readonly cameToNothing?: () => void
}

/**
 * Sends a job down the road and keeps what it came to. Jobs of the page are nobody's to ask for later, so they are
 * not kept. Throws MayflyError DRAINING, OVERLOADED or RATE_LIMITED, and STATE when a job that outlives its asker
 * cannot be written down.
 */
export function undertake(door: Door, job: Job, wishes: Wishes = {}): Undertaking {
  const isKept = job.origin !== 'page'
  const row = rowOf(door, job)
  const { ticket, place } = admit(door, job, row, wishes)
  const output = new LiveOutput()
  const story = new LiveStory(door.clock)
  const heard = listeners((name, data) => {
    output.push(name, data)
    return wishes.send?.(name, data)
  })
  const on = (entry: TimelineEntry): void => {
    if (entry.event === 'phase') door.live.runs(job.id)
    story.on(entry)
    heard.on(entry)
  }

  async function run(): Promise<Ended> {
    try {
      const outcome = await door.road(job, {
        signal: ticket.signal,
        planned: (profile) => {
          story.planned(profile)
          if (wishes.hearsPlan) void wishes.send?.('plan', JSON.stringify(story.told))
        },
        on,
        tap: heard.tap,
      })
      const text = JSON.stringify(outcome)
      const cpuMs = cpuTimeOf(outcome)
      place.end({ cpuMs, bytesOut: Buffer.byteLength(text) })
      if (outcome.status === 'unavailable') wishes.cameToNothing?.()
      if (isKept) keep(door, job.tenant, endedRow(row, outcome), text)
      return { outcome, text }
    } catch (thrown) {
      wishes.cameToNothing?.()
      throw thrown
    } finally {
      place.end({ cpuMs: 0, bytesOut: 0 })
      door.live.end(job.id)
    }
  }

  const { promise: ended, resolve, reject } = Promise.withResolvers<Ended>()
  const told = ended.then(({ text }) => text)
  // Whoever watches hears of it; where nobody does, who asked is told.
  told.catch(() => undefined)
  if (isKept) {
    const { cancel } = ticket
    door.live.begin(job.tenant, { row, cancel, output, story, ended: told })
  }
  run().then(resolve, reject)
  return {
    id: job.id,
    ended,
    cancel: ticket.cancel,
    answered: () => ticket[Symbol.dispose](),
  }
}

/** Of the job, of its shadow, and of what it called. */
function cpuTimeOf({ metrics, shadow }: Outcome): number {
  return metrics.cpuTime + (shadow?.cpuTime ?? 0) + (metrics.called?.cpuTime ?? 0)
}

/** A place among those under way, and its line where one is to be there before it starts. */
function admit(door: Door, job: Job, row: ExecutionRow, wishes: Wishes): Admitted {
  let ticket: Ticket | undefined
  let place: QuotaPlace | undefined
  try {
    ticket = door.running.begin(job.tenant, bytesOf(job))
    place = door.quotas.begin(job.tenant, bytesOf(job))
    if (wishes.outlivesAsker) door.history.begin(job.tenant, row)
    return { ticket, place }
  } catch (thrown) {
    ticket?.[Symbol.dispose]()
    place?.end({ cpuMs: 0, bytesOut: 0 })
    wishes.cameToNothing?.()
    throw thrown
  }
}

interface Admitted {
  readonly ticket: Ticket
  readonly place: QuotaPlace
}

/** What a job brings. */
function bytesOf({ asked, inputText }: Job): number {
  const own = [...asked.args, ...Object.values(asked.env), asked.stdin?.content ?? '']
  const texts = [asked.code, inputText, ...own, ...asked.files.map(({ content }) => content)]
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
}

/** Whoever waits for the outcome gets it, whether it can be kept or not; the sinks hear that it was not. */
function keep(door: Door, tenant: string, row: ExecutionRow, text: string): void {
  try {
    door.history.end(tenant, row, text)
  } catch (thrown) {
    door.refusals.problem(thrown)
  }
}

function rowOf(door: Door, { id, asked }: Job): ExecutionRow {
  return {
    id,
    status: 'queued',
    at: new Date(door.clock.date()).toISOString(),
    ...(asked.language && { language: asked.language }),
    labels: asked.labels,
  }
}

function endedRow(row: ExecutionRow, outcome: Outcome): ExecutionRow {
  return {
    ...row,
    status: outcome.status,
    ...(outcome.tier !== undefined && { tier: outcome.tier }),
    ...(outcome.provider !== undefined && { provider: outcome.provider }),
    executionTime: outcome.metrics.executionTime,
    threatScore: outcome.security.threatScore,
    behaviorScore: outcome.security.behaviorScore,
  }
}
