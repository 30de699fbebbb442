import type { Sink } from '../contract/event.ts'
import type { Supervisor } from '../contract/pipeline.ts'

export interface Overhearing {
  /** Hears the one stream of events. */
  readonly sink: Sink
  /** The supervisor whose life is told what the stream says of it, while it runs. */
  over(supervisor: Supervisor): Supervisor
}

/**
 * Tells each life what was seen of it, such as what left or was refused at its way out, or which programs its wall saw it
 * start: conditions count that too. What a wall refuses it tells itself, an anomaly is told by whoever found it, and what
 * the supervisor says it knows. A guest's own word counts for nothing here.
 */
export function overhear(): Overhearing {
  const lives = new Map<string, Supervisor>()
  return {
    sink({ run, point, zone, fields, trust, actor }) {
      if (run === null || actor === 'temporal' || point === 'anomaly/found') return
      const isSeen = trust === 'host' || (trust === 'wall' && point.startsWith('seen/'))
      if (!isSeen) return
      lives.get(run)?.notice({ point, zone, fields })
    },
    over: (supervisor) => ({
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
