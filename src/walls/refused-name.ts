import type { Event } from '../contract/event.ts'
import { eventOfLife, type GuestLife } from './guest-life.ts'

/**
 * Emits an event for the lookup of a name that the realm refuses, to the record and the life. Its trust is `guest`:
 * neither server nor warden saw the lookup. Conditions and detectors of denied capabilities do not receive it:
 * libraries evaluate `typeof process` to detect their environment.
 */
export function emitRefusedName({ parts, task, sink }: GuestLife, fields: Event['fields']): void {
  const from = { run: task?.run ?? null, actor: 'guest', trust: 'guest' } as const
  parts.emitter.emit('name/refused', fields, { ...from, zone: task?.zone ?? 'main' })
  sink?.(eventOfLife('name/refused', { ...from, zone: 'main', fields }))
}
