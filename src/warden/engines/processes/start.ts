import { randomBytes } from 'node:crypto'
import type { EnclosureSpec } from '../../../contract/engine.ts'
import type { Compiled } from '../../../jail/compiled.ts'
import { jailKinds, type JailKind } from '../../../contract/jail-kind.ts'
import type { JailCommand, JailedProgram } from '../../../jail/embedded.ts'
import { joinedProgram } from '../../../jail/joined.ts'
import type { JailFacts, JailLayer } from '../../../jail/facts.ts'
import type { CProgram, FoundCProgram } from '../../../jail/c-program.ts'
import { pythonFile } from '../../../jail/whole.ts'
import type { CgroupRoot } from '../../../os/cgroup-interface.ts'
import { findLayers } from '../../../jail/layers.ts'
import { composeJail } from './program.ts'
import type { WallResources } from './resources.ts'
import { wallFolder } from '../wall-folder.ts'
import { freeSlot, type Slot } from '../../slots.ts'
import { spawnWall } from './spawn.ts'

/** Controllers of a worker: in cgroup v1 each further one costs a folder at its start. */
const WORKER_CONTROLLERS = ['memory', 'pids', 'cpu'] as const

export interface StartParts {
  readonly facts: JailFacts
  readonly cgroups: CgroupRoot | undefined
  readonly without: readonly JailLayer[]
  readonly prefer: 'embedded' | 'bubblewrap' | undefined
  readonly compiled: Compiled
  /** Program that starts walls, once it is made. */
  readonly launcher: CProgram | undefined
}

export interface SpawnedWall {
  readonly command: JailCommand
  readonly resources: WallResources
}

/** Takes a uid, a cgroup and a scratch folder, composes the jail and forks. Releases all of them before it throws. */
export function spawnFor(
  spec: EnclosureSpec,
  program: JailedProgram,
  sentinel: FoundCProgram | undefined,
  parts: StartParts,
): SpawnedWall {
  const slot = parts.facts.root ? freeSlot() : undefined
  try {
    return spawnWith(slot, spec, program, sentinel, parts)
  } catch (error) {
    slot?.release()
    throw error
  }
}

function spawnWith(
  slot: Slot | undefined,
  spec: EnclosureSpec,
  program: JailedProgram,
  sentinel: FoundCProgram | undefined,
  parts: StartParts,
): SpawnedWall {
  const { facts, without } = parts
  const id = `w${randomBytes(8).toString('hex')}`
  const isWhole = program.whole !== undefined
  const hasRoot = facts.namespaces && !without.includes('namespaces')
  const scratch = isWhole && !hasRoot ? wallFolder(id) : undefined
  const command = composeJail(jailKindOf(spec), prepared(program, parts.compiled), facts, {
    uid: slot?.uid,
    without,
    compiled: isWhole ? undefined : parts.compiled.folder(insideUid(facts, slot?.uid)),
    prefer: parts.prefer,
    scratch,
    sentinel,
    calls: spec.calls,
    hasLauncher: parts.launcher !== undefined,
    isInGroup: parts.cgroups !== undefined,
    layers: isWhole && spec.layers ? findLayers(spec.layers) : [],
  })
  const found = sentinel && 'fd' in sentinel && command.asks ? sentinel : undefined
  const isTightened = isWhole || spec.mechanism !== undefined
  const cgroup = parts.cgroups?.create(id, isTightened ? undefined : WORKER_CONTROLLERS)
  if (isWhole && spec.isUrgent) cgroup?.weighStart('urgent')
  else if (isWhole && spec.spares > 0) cgroup?.weighStart('spare')
  try {
    return {
      command,
      resources: spawnWall(id, command, { slot, isWhole, scratch, cgroup }, found, parts.launcher),
    }
  } catch (error) {
    // No process entered it, and no lease names it yet.
    cgroup?.remove()
    throw error
  }
}

function prepared(program: JailedProgram, { joined, python }: Compiled): JailedProgram {
  const { whole } = program
  if (whole?.interpreter !== pythonFile) return joinedProgram(program, joined)
  return python ? { ...program, whole: { ...whole, places: [...whole.places, python] } } : program
}

/** Jail kind of a request; the engine's row in the table has no other mechanism. */
function jailKindOf({ mechanism }: EnclosureSpec): 'any' | JailKind {
  return jailKinds.find((kind) => kind === mechanism) ?? 'any'
}

/** The uid that a program sees as its own: root of its user namespace where the embedded jail makes one. */
function insideUid(facts: JailFacts, uid: number | undefined): number {
  if (uid !== undefined) return uid
  return facts.namespaces && !facts.root ? 0 : (process.getuid?.() ?? 0)
}
