import type { Event, Point } from '../contract/event.ts'

/** From the fewest lines to all: failures; refusals too; start and stop of a server and orders too; every event. */
export const logLevels = ['off', 'error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof logLevels)[number]

const levelOfPoint: Partial<Record<Point, LogLevel>> = {
  'job/unrecorded': 'error',
  'tier/lost': 'error',
  'record/full': 'error',
  'record/unsigned': 'error',
  'warden/lost': 'error',
  'sentinel/lost': 'error',
  'webhook/lost': 'error',
  'control/unenforced': 'warn',
  'evidence/missing': 'warn',
  'webhook/failed': 'warn',
  'baseline/lost': 'warn',
  'provider/refused': 'warn',
  'record/recovered': 'info',
  'sentinel/returned': 'info',
  'server/started': 'info',
  'server/draining': 'info',
  'server/stopped': 'info',
  'warden/swept': 'info',
  'config/overridden': 'info',
  'provider/loaded': 'info',
  'provider/removed': 'info',
  'signer/trusted': 'info',
  'signer/revoked': 'info',
  'access/created': 'info',
  'access/revoked': 'info',
  'operator/tightened': 'info',
  'operator/frozen': 'info',
  'operator/thawed': 'info',
  'operator/captured': 'info',
  'operator/terminated': 'info',
}
/** Refusals that an operator looks for: of keys and of quotas. */
const refusals: ReadonlySet<unknown> = new Set([401, 403, 429])

/** Level of an event; of an answer and an end by its status. */
export function levelOf({ point, fields }: Event): LogLevel {
  const status = Number(fields['status'])
  if (point === 'door/refused' && status >= 500) return status === 503 ? 'warn' : 'error'
  if (point === 'door/answered') return refusals.has(status) ? 'warn' : 'debug'
  if (point === 'job/ended') return fields['status'] === 'unavailable' ? 'warn' : 'debug'
  if (point === 'server/certificate') return fields['renewed'] === true ? 'info' : 'error'
  return levelOfPoint[point] ?? 'debug'
}

/** True if a log of level `least` has events of level `of`. */
export function isLogged(of: LogLevel, least: LogLevel): boolean {
  return logLevels.indexOf(of) <= logLevels.indexOf(least)
}
