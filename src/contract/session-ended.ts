import { MayflyError } from './error.ts'
import { causeOf, lostWithIt, type SessionEnd } from './exec.ts'
import type { Outcome } from './outcome.ts'
import { raised, remedyText, type Remedy } from './remedy.ts'

/** Parts of the outcome of a life that an error repeats; a page has fewer of them. */
type EndedLife = SessionEnd & Partial<Pick<Outcome, 'timeline' | 'profile'>>

/** Error of a call on a session of whose life the outcome is known: with cause, time, loss and how another one is opened. */
export function sessionEndedAs(outcome: EndedLife | undefined, began?: string): MayflyError {
  const { error, status } = outcome ?? {}
  const at = endOfLife(outcome, began)
  const message = `Cannot use the session: ${causeOf(outcome)}${at === undefined ? '' : `, at ${at}`}`
  const details = { outcome: outcome ?? null }
  const limit = memoryLimitOf(outcome)
  if (status !== 'limit' || error?.code !== 'MEMORY' || limit === undefined)
    return new MayflyError('SESSION_ENDED', message, {
      hint: `${lostWithIt}: open another one`,
      details,
    })
  const more: Remedy = { ...raised('limits.memory', limit), of: 'session' }
  const hint = `${lostWithIt}: open another one, with more memory (${remedyText(more)})`
  return new MayflyError('SESSION_ENDED', message, { hint, remedies: [more], details })
}

/** Time of the last entry of a life, as ISO 8601: its entries count from the release of its code. */
function endOfLife(outcome: EndedLife | undefined, began = ''): string | undefined {
  const last = outcome?.timeline?.at(-1)
  const start = Date.parse(began)
  if (!last || Number.isNaN(start)) return undefined
  return new Date(start + Math.max(0, last.at)).toISOString().replace(/\.\d+Z$/, 'Z')
}

function memoryLimitOf(outcome: EndedLife | undefined): number | undefined {
  const row = outcome?.profile?.explain.find(({ field }) => field === 'limits.memory')
  return typeof row?.value === 'number' ? row.value : undefined
}
