import type { Event } from '../contract/event.ts'
import type { LifeHandle, LifeObserver } from '../contract/pipeline.ts'

export type EventForwarder = ReturnType<typeof createEventForwarder>

/**
 * Forwards observations of the event stream to the supervisor of their run, such as egress decisions and programs
 * seen by the wall, so that conditions count them. Skipped: denials of the wall and anomalies, which reach the
 * supervisor directly, its own events, and claims of the guest.
 */
export function createEventForwarder() {
  const lives = new Map<string, LifeHandle>()
  return {
    /** Subscriber to the event stream. */
    sink({ run, point, zone, fields, trust, actor }: Event): void {
      if (run === null || actor === 'temporal' || point === 'anomaly/found') return
      const isSeen = trust === 'host' || (trust === 'wall' && point.startsWith('seen/'))
      if (!isSeen) return
      lives.get(run)?.notice({ point, zone, fields })
    },
    /** Makes an observer that registers a life for its events while it runs. */
    observe(): LifeObserver {
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
