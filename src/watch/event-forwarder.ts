import type { Sink } from '../contract/event.ts'
import type { Supervisor } from '../contract/pipeline.ts'

export interface EventForwarder {
  /** Subscriber to the event stream. */
  readonly sink: Sink
  /** Registers a supervisor for the events of its life while it runs. */
  wrap(supervisor: Supervisor): Supervisor
}

/**
 * Forwards observations of the event stream to the supervisor of their run, such as egress decisions and programs
 * seen by the wall, so that conditions count them. Skipped: denials of the wall and anomalies, which reach the
 * supervisor directly, its own events, and statements of the guest.
 */
export function createEventForwarder(): EventForwarder {
  const lives = new Map<string, Supervisor>()
  return {
    sink({ run, point, zone, fields, trust, actor }) {
      if (run === null || actor === 'temporal' || point === 'anomaly/found') return
      const isSeen = trust === 'host' || (trust === 'wall' && point.startsWith('seen/'))
      if (!isSeen) return
      lives.get(run)?.notice({ point, zone, fields })
    },
    wrap: (supervisor) => ({
      async run(task, io) {
        lives.set(task.run, supervisor)
        try {
          return await supervisor.run(task, io)
        } finally {
          if (lives.get(task.run) === supervisor) lives.delete(task.run)
        }
      },
      tighten: (to, by) => supervisor.tighten(to, by),
      terminate: (by) => supervisor.terminate(by),
      zone: (zone, kind, about) => supervisor.zone(zone, kind, about),
      gone: (zone) => supervisor.gone(zone),
      notice: (event) => supervisor.notice(event),
      get isOver() {
        return supervisor.isOver
      },
      [Symbol.asyncDispose]: () => supervisor[Symbol.asyncDispose](),
    }),
  }
}
