import type { Sink } from '../contract/event.ts'
import type { LifeHandle, LifeObserver } from '../contract/pipeline.ts'

export interface EventForwarder {
  /** Subscriber to the event stream. */
  readonly sink: Sink
  /** Makes an observer that registers a life for its events while it runs. */
  observe(): LifeObserver
}

/**
 * Forwards observations of the event stream to the supervisor of their run, such as egress decisions and programs
 * seen by the wall, so that conditions count them. Skipped: denials of the wall and anomalies, which reach the
 * supervisor directly, its own events, and claims of the guest.
 */
export function createEventForwarder(): EventForwarder {
  const lives = new Map<string, LifeHandle>()
  return {
    sink({ run, point, zone, fields, trust, actor }) {
      if (run === null || actor === 'temporal' || point === 'anomaly/found') return
      const isSeen = trust === 'host' || (trust === 'wall' && point.startsWith('seen/'))
      if (!isSeen) return
      lives.get(run)?.notice({ point, zone, fields })
    },
    observe() {
      let life: LifeHandle | undefined
      let run = ''
      return {
        attach: (handle) => void (life = handle),
        begin(task) {
          run = task.run
          lives.set(run, life!)
          return undefined
        },
        close() {
          if (lives.get(run) === life) lives.delete(run)
        },
      }
    },
  }
}
