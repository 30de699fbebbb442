import type { Clock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Effects } from './effects.ts'

/** Wraps the registry to emit an event for each registration, with its duration in milliseconds. */
export function withRegistrationEvents(
  effects: Effects,
  emitter: Pick<Emitter, 'emit'>,
  clock: Clock,
): Effects {
  return {
    ...effects,
    async register(job, asked) {
      const began = clock.now()
      const about = { tenant: job.tenant, effectId: asked.effectId, ...traceOf(job) }
      const took = (): { readonly took: number } => ({ took: clock.now() - began })
      try {
        const registered = await effects.register(job, asked)
        const fields = { ...about, ...registered.security, ...took() }
        emitter.emit('effect/registered', fields, { run: job.id })
        return registered
      } catch (thrown) {
        const code = thrown instanceof MayflyError ? thrown.code : 'INTERNAL'
        emitter.emit('effect/refused', { ...about, code, ...took() }, { run: job.id })
        throw thrown
      }
    },
  }
}

function traceOf({ traceparent }: { readonly traceparent?: string }): object {
  return traceparent === undefined ? {} : { traceparent }
}
