import { lstatSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../../../contract/error.ts'
import type { AgentHistory } from '../../../agent-wire/agent-link.ts'
import { askStatus } from '../../../agent-wire/agent-questions.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { bootMachine, type BootedMachineParts } from './boot-machine.ts'
import { failedStep } from './guest.ts'
import { makeJail, removeJail, takeFile } from './jail-files.ts'
import type { JailLocation } from './jailer.ts'
import { jailLocationOf } from './jailed-machine.ts'
import type { FirecrackerMachine } from './machine.ts'
import { machineRemains } from './sweep-jails.ts'

/**
 * The snapshot that clones are loaded from: a machine booted from the files of an image, with a parked runner, saved before any
 * claim, so that it holds no data of a tenant.
 *
 * The files of a template are in a jail of their own, in which no process is ever started: on the file system of its clones'
 * jails, which get hard links, under a folder that only root can enter, and with a lease, by which a sweep removes it. They are
 * moved there once no process of the machine is left, must be regular files with a link count of 1, and are owned by root and
 * read-only from then on.
 *
 * A snapshot resets the vsock connections. The agent's listening socket survives, and accepts the next connection of a host.
 */
export interface FirecrackerTemplate {
  readonly place: JailLocation
  /** Messages between host and agent until the snapshot. */
  readonly history: AgentHistory
  /** Paths of the files on this host. */
  readonly state: string
  readonly memory: string
  /** Inodes and times of both files. */
  readonly inodes: string
  readonly memoryMiB: number
  /** Image of the root disk. */
  readonly image: string
}

/** Names in the root of a jail. */
export const savedNames = { state: 'state', memory: 'memory' } as const
const REST_MS_MAX = 30_000

/** Boots a machine and saves it. Releases everything before it throws MayflyError. */
export async function makeTemplate(
  parts: Omit<BootedMachineParts, 'isTemplate'>,
  host: GuestHost,
): Promise<FirecrackerTemplate> {
  const place = jailLocationOf('t', parts.programs)
  host.lease(place.id, machineRemains(place, [], null))
  try {
    const root = makeJail(place)
    const history = await bootAndSave(parts, root, host)
    const [state, memory] = [path.join(root, savedNames.state), path.join(root, savedNames.memory)]
    const inodes = inodesOf({ state, memory })
    const { memoryMiB } = parts.key
    return { place, history, state, memory, inodes, memoryMiB, image: parts.boot.image }
  } catch (error) {
    removeTemplate({ place }, host)
    throw error
  }
}

/** Removes its files; clones have hard links of their own. */
export function removeTemplate({ place }: Pick<FirecrackerTemplate, 'place'>, host: GuestHost) {
  removeJail(place)
  host.releaseLease(place.id)
}

/** Reason why it must not be cloned; undefined if its files are unchanged. */
export function whyTemplateBroken(template: FirecrackerTemplate): string | undefined {
  try {
    return inodesOf(template) === template.inodes ? undefined : 'its files were changed'
  } catch {
    return 'its files are missing'
  }
}

async function bootAndSave(
  parts: Omit<BootedMachineParts, 'isTemplate'>,
  to: string,
  host: GuestHost,
): Promise<AgentHistory> {
  const { machine, agent, channel } = await bootMachine({ ...parts, isTemplate: true }, host)
  const { takes } = parts
  using _starting = takes.track({ kill: () => machine.signalKill() })
  try {
    // Messages are ordered: after this answer no message is in flight when the machine pauses.
    await askStatus(agent, REST_MS_MAX)
    const { history } = agent
    channel.destroy()
    await machine.pause()
    await machine.save(savedNames)
    await takeSaved(machine, to)
    return history
  } catch (error) {
    takes.refuseIfClosed()
    throw failedStep('template', error)
  } finally {
    await machine.kill()
  }
}

/** Kills the machine, and moves both files out of its jail. */
async function takeSaved(machine: FirecrackerMachine, to: string): Promise<void> {
  let thrown: unknown = new MayflyError(
    'INTERNAL',
    'Cannot keep a snapshot: its machine does not exit',
  )
  await machine.kill((root) => {
    try {
      for (const name of Object.values(savedNames)) takeFile(root, name, path.join(to, name))
      thrown = undefined
    } catch (error) {
      thrown = error
    }
  })
  if (thrown !== undefined) throw thrown
}

/** Excludes the change time, which each hard link updates. Only root can write to the files or set their times. */
function inodesOf({ state, memory }: Pick<FirecrackerTemplate, 'state' | 'memory'>): string {
  return [state, memory]
    .map((file) => {
      const { dev, ino, size, mtimeNs, mode, uid } = lstatSync(file, { bigint: true })
      return [dev, ino, size, mtimeNs, mode, uid].join(' ')
    })
    .join(' ')
}
