import type { Finding } from '../contract/anomaly.ts'
import type { Listener, Supervisor } from '../contract/rooms.ts'
import type { Task } from '../contract/provider.ts'
import { entropyOf } from './entropy.ts'
import type { Watching } from './watching.ts'

/**
 * A supervisor whose life is watched: what the guest writes is looked at as it passes, and each finding is told to the
 * supervisor, whose schedule says what to do about it.
 */
export function watched(
  supervisor: Supervisor,
  watching: Watching,
  found: (run: string, finding: Finding) => void = () => undefined,
): Supervisor {
  return {
    async run(task: Task, io: Listener) {
      watching.hear(task.run, (finding) => {
        const { zone, severity, name, reason } = finding
        supervisor.notice({ point: 'anomaly/found', zone, fields: { severity, name, reason } })
        found(task.run, finding)
      })
      return await supervisor.run(task, overheard(task.run, io, watching))
    },
    tighten: (to, by) => supervisor.tighten(to, by),
    terminate: (by) => supervisor.terminate(by),
    zone: (zone, kind) => supervisor.zone(zone, kind),
    gone: (zone) => supervisor.gone(zone),
    notice: (event) => supervisor.notice(event),
    [Symbol.asyncDispose]: () => supervisor[Symbol.asyncDispose](),
  }
}

function overheard(run: string, io: Listener, watching: Watching): Listener {
  const look = (chunk: Uint8Array) => {
    const entropy = entropyOf(chunk)
    const seen = {
      kind: 'output',
      bytes: chunk.length,
      ...(entropy !== undefined && { entropy }),
    } as const
    watching.see(run, { zone: 'main', trust: 'host', seen })
  }
  return {
    ...io,
    stdout(chunk) {
      look(chunk)
      return io.stdout(chunk)
    },
    stderr(chunk) {
      look(chunk)
      return io.stderr(chunk)
    },
  }
}
