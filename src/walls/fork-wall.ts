import { MayflyError } from '../contract/error.ts'
import { notForkable } from '../contract/not-forkable.ts'
import type { Profile } from '../contract/profile.ts'
import type { Sandbox, SandboxFork } from '../contract/provider.ts'
import { carriedHandle } from './carried-handle.ts'
import type { SandboxParts } from './guest-life.ts'
import type { StreamPositions } from './guest-streams.ts'
import type { WallHandle } from './handle.ts'

/** Claims a wall that was forked, and makes its sandbox. Rejects as `claimProgram` does. */
export type LaunchForked = (wall: WallHandle, profile: Profile) => Promise<Sandbox>

/** Time for the carrier to empty its streams: it waits for bytes that the guest has not read. */
const HOLD_MS_MAX = 5_000

/**
 * Forks a wall between two execs of its session.
 *
 * Order: the carrier of the guest stands still, with no byte on its way; the warden saves the wall, and lets it go on; the carrier goes
 * on. A forked wall begins with the streams where they stood, and goes on once its sandbox has its task.
 *
 * Bytes that the runner had sent in part would reach two servers in halves: such a wall is BUSY. Frames of an exec that begins meanwhile
 * are sent afterwards, to the parent alone.
 */
export async function forkWall(
  { wall, warden }: Pick<SandboxParts, 'wall' | 'warden'>,
  children: number,
  launch: LaunchForked,
): Promise<SandboxFork> {
  const { carried, wall: facts } = wall
  if (!carried || !facts.isForkable) throw notForkable()
  try {
    const positions = await carried.hold(HOLD_MS_MAX)
    if (wall.unreadBytes > 0)
      throw new MayflyError('BUSY', 'Cannot fork the session: its guest is sending a message', {
        retryAfterMs: 1_000,
      })
    const forked = await warden.fork(facts.id, children)
    return { pausedMs: forked.pausedMs, ...launcherOf(forked.fork, positions) }
  } finally {
    carried.go()
  }

  function launcherOf(fork: string, positions: StreamPositions): Omit<SandboxFork, 'pausedMs'> {
    return {
      async launch(profile) {
        const started = await warden.forked(fork)
        const handle = carriedHandle(started.wall, started.socket, warden, positions)
        handle.ref(false)
        try {
          return await launch(handle, profile)
        } catch (error) {
          void handle.kill()
          throw error
        }
      },
      close: () => warden.forgetFork(fork),
    }
  }
}
