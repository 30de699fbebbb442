import { tmpdir } from 'node:os'
import type { Clock } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import type { Emitter } from '../contract/event.ts'
import { serverUid } from '../contract/uids.ts'
import type { AuditRecord } from '../evidence/record.ts'
import { ProviderModules } from '../provider-modules/modules.ts'
import type { ProvedWalls } from './proved-walls.ts'
import { recordEvent } from './record-events.ts'

export interface ProviderModuleParts {
  readonly config: Config
  readonly walls: ProvedWalls
  readonly record: Pick<AuditRecord, 'append'>
  readonly emitter: Emitter
  readonly clock: Clock
  /** Folders of this process's jobs, in addition to configured ones. */
  readonly jobFolders: readonly string[]
}

/** Provider modules of the configuration, found on first use; undefined if it names none. */
export function openProviderModules(parts: ProviderModuleParts): ProviderModules | undefined {
  const { config, walls, record, emitter, clock } = parts
  const { folder, modules } = config.providers
  if (folder === undefined && modules.length === 0) return undefined
  const opened = new ProviderModules({
    places: { folder, modules },
    trust: { owners: trustedOwners(), jobFolders: [...foldersOfJobs(config), ...parts.jobFolders] },
    baitFolders: [tmpdir(), config.state],
    host: {
      base: (on) => walls.baseFor(on),
      isTaken: (name) => walls.isOwn(name),
      serve: (listed) => walls.serveModule(listed),
      withdraw: (name) => walls.withdrawModule(name),
      list: (refused) => walls.refuseModules(refused),
      tell(point, fields) {
        record.append(recordEvent(point, fields, 'server', clock))
        emitter.emit(point, fields, { actor: 'server' })
      },
    },
  })
  walls.discover = () => opened.settle()
  return opened
}

/**
 * Trusted owners: root, and the user who runs Mayfly. A server with a uid of its own does not trust that uid, because it
 * owns files that jobs wrote.
 */
function trustedOwners(): ReadonlySet<number> {
  const uid = process.geteuid?.()
  return new Set([0, ...(uid === undefined || uid === serverUid ? [] : [uid])])
}

/** Folders with files of jobs: the state folder and granted folders. */
function foldersOfJobs({ state, capability_configs }: Config): readonly string[] {
  const granted = Object.values(capability_configs).flatMap(
    ({ fs_policy }) => fs_policy?.write ?? [],
  )
  return [state, ...granted]
}
