import type { Event } from '../contract/event.ts'
import type { GuestLife } from './guest-life.ts'

/**
 * Emits that user code looked up a name that its realm refuses, for the record and for the life. Its trust is `guest`:
 * neither server nor warden saw the lookup. A condition or a detector that waits for a denied capability is not told: libraries
 * ask `typeof process` to find out where they are.
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
