import type { Event } from '../contract/event.ts'
import type { GuestLife } from './guest-life.ts'

/**
 * Emits an event for the lookup of a name that the realm refuses, to the record and the life. Its trust is `guest`:
 * neither server nor warden saw the lookup. Conditions and detectors of denied capabilities do not receive it:
 * libraries evaluate `typeof process` to detect their environment.
 */
export function emitRefusedName({ parts, task, sink }: GuestLife, fields: Event['fields']): void {
  const from = { run: task?.run ?? null, actor: 'guest', trust: 'guest' } as const
  const about = { ...from, zone: task?.zone ?? 'main' }
  parts.emitter.emit('name/refused', fields, about)
  sink?.({
    format: 1,
    seq: 0,
    at: Date.now(),
    point: 'name/refused',
    zone: 'main',
    ...from,
    fields,
  })
}
