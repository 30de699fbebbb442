import { lstatSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../../../contract/error.ts'
import type { AgentHistory } from '../../../agent-wire/agent-link.ts'
import { askStatus } from '../../../agent-wire/agent-questions.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { bootMachine, type BootedMachineParts } from './boot-machine.ts'
import { failedStep } from './guest.ts'
import { makeJail, removeJail, takeFile, type JailLocation } from './jail-files.ts'
import { jailRoot } from './jailer.ts'
import { placeOf } from './jailed-machine.ts'
import type { FirecrackerMachine } from './machine.ts'
import { machineRemains } from './sweep-jails.ts'

/**
 * The saved machine that clones are loaded from: booted from the files of an image, with a parked runner, and without a claim, so
 * that it holds nothing of a tenant.
 *
 * The files of a template lie in a jail of their own in which no process is ever started: on the file system of the jails of its clones, which get
 * hard links, under a folder that root alone enters, and with a lease, by which a sweep removes it. They are moved there once no process of
 * the machine is left, are checked to be plain files with one name, and are root's and read-only from then on.
 *
 * A snapshot ends the connections of the vsock. The agent, which waits in a socket that listens, takes the next host.
 */
export interface FirecrackerTemplate {
  readonly place: JailLocation
  /** Conversation between host and agent until the snapshot. */
  readonly history: AgentHistory
  /** Paths of the files on this host. */
  readonly state: string
  readonly memory: string
  /** Inodes of both files. */
  readonly inodes: string
  readonly memoryMiB: number
  /** Image that is the root disk. */
  readonly image: string
}

/** Names in the root of a jail. */
export const savedNames = { state: 'state', memory: 'memory' } as const
const REST_MS_MAX = 30_000

/** Boots and saves. Releases everything before it throws MayflyError. */
export async function makeTemplate(
  parts: Omit<BootedMachineParts, 'isTemplate'>,
  host: GuestHost,
): Promise<FirecrackerTemplate> {
  const place = placeOf('t', parts.programs)
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

/** Removes its files; clones have names of their own for them. */
export function removeTemplate({ place }: Pick<FirecrackerTemplate, 'place'>, host: GuestHost) {
  removeJail(place)
  host.releaseLease(place.id)
}

/** Cause for which no clone may be made of it; undefined where its files are those that were saved. */
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
  const tracked = { kill: () => machine.signalKill() }
  takes.track(tracked)
  try {
    // An answer behind everything else: nothing is under way when the machine stops.
    await askStatus(agent, REST_MS_MAX)
    const { history } = agent
    channel.destroy()
    await machine.pause()
    await machine.save('Full', savedNames)
    await takeSaved(machine, to)
    return history
  } catch (error) {
    takes.refuseIfClosed()
    throw failedStep('template', error)
  } finally {
    await machine.kill()
    takes.forget(tracked)
  }
}

/** Ends the machine, and moves both files out of its jail. */
async function takeSaved(machine: FirecrackerMachine, to: string): Promise<void> {
  let thrown: unknown = new MayflyError(
    'INTERNAL',
    'Cannot keep a snapshot: its machine does not end',
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

/** Without the change time, which each hard link sets. Only root could write to the files, and set their time. */
function inodesOf({ state, memory }: Pick<FirecrackerTemplate, 'state' | 'memory'>): string {
  return [state, memory]
    .map((file) => {
      const { dev, ino, size, mtimeNs, mode, uid } = lstatSync(file, { bigint: true })
      return [dev, ino, size, mtimeNs, mode, uid].join(' ')
    })
    .join(' ')
}

/** Folder of the files, for tests. */
export const templateFolder = ({ place }: Pick<FirecrackerTemplate, 'place'>) => jailRoot(place)
