import type { EnclosureSpec } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import type { Compiled } from '../../../jail/compiled.ts'
import { jailKinds, type JailKind } from '../../../contract/jail-kind.ts'
import { sharedLayout } from '../../../contract/shared-layout.ts'
import type { JailCommand, JailedProgram } from '../../../jail/embedded.ts'
import { findImageRoot, programOfImage } from '../../../jail/image-root.ts'
import { composeForked, type ForkedJail } from '../../../jail/forked.ts'
import type { JailFacts, JailLayer } from '../../../jail/facts.ts'
import type { CProgram, CProgramLookup } from '../../../jail/c-program.ts'
import type { CgroupRoot } from '../../../os/cgroup-interface.ts'
import { findLayers } from '../../../jail/layers.ts'
import { preparedProgram } from '../../../jail/prepared.ts'
import { composeJail } from './program.ts'
import type { WallResources } from './resources.ts'
import { newWallId, wallFolder } from '../wall-folder.ts'
import { freeSlot, type Slot } from '../../slots.ts'
import { forkTemplate, spawnWall } from './spawn.ts'
import type { ImageZygotes } from './image-zygotes.ts'
import type { Zygotes } from './zygotes.ts'

/** Controllers of a worker: in cgroup v1 each controller costs a folder per start. */
const WORKER_CONTROLLERS = ['memory', 'pids', 'cpu'] as const

export interface StartParts {
  readonly facts: JailFacts
  readonly cgroups: CgroupRoot | undefined
  readonly without: readonly JailLayer[]
  readonly prefer: 'embedded' | 'bubblewrap' | undefined
  readonly compiled: Compiled
  /** Program that starts walls, once it is compiled. */
  readonly launcher: CProgram | undefined
  /** Templates from which walls are forked; undefined if each is started by an exec. */
  readonly zygotes: ImageZygotes | undefined
}

export interface SpawnedWall {
  readonly command: JailCommand
  readonly resources: WallResources
  /** Templates that forked it; absent if it was started by an exec. */
  readonly zygotes?: Pick<Zygotes, 'confirm' | 'refuse'>
}

/** A wall with its uid, cgroup and scratch folder, before its first process. */
export interface PlannedWall {
  /**
   * Forks it; resolves to undefined if there is no template, or if that failed: the caller then uses `exec`. Absent for
   * programs without templates.
   */
  readonly fork: (() => Promise<SpawnedWall | undefined>) | undefined
  /** Starts it by an exec. Releases all resources before it throws. */
  exec(): SpawnedWall
  release(): void
}

/** Takes a uid, a cgroup and a scratch folder, and composes the jail. Releases all of them before it throws. */
export function planWall(
  spec: EnclosureSpec,
  program: JailedProgram,
  sentinel: CProgramLookup | undefined,
  parts: StartParts,
): PlannedWall {
  const slot = parts.facts.root ? freeSlot() : undefined
  try {
    return planWith(slot, spec, program, sentinel, parts)
  } catch (error) {
    slot?.release()
    throw error
  }
}

function planWith(
  slot: Slot | undefined,
  spec: EnclosureSpec,
  program: JailedProgram,
  sentinel: CProgramLookup | undefined,
  parts: StartParts,
): PlannedWall {
  const id = newWallId('w')
  const isWhole = program.whole !== undefined
  const prepared = preparedProgram(program, parts.compiled, spec.image !== undefined)
  const ready = spec.image ? programOfImage(prepared, rootFor(spec.image, parts)) : prepared
  const options = optionsFor({ id, slot, spec, isWhole }, sentinel, parts)
  const command = composeJail(jailKindOf(spec), ready, parts.facts, options)
  const isUsed = command.asks !== undefined || command.keeper !== undefined
  const found = sentinel && 'fd' in sentinel && isUsed ? sentinel : undefined
  const isTightened = isWhole || spec.mechanism !== undefined
  const cgroup = parts.cgroups?.create(id, isTightened ? undefined : WORKER_CONTROLLERS)
  if (isWhole && spec.isUrgent) cgroup?.weighStart('urgent')
  else if (isWhole && spec.spares > 0) cgroup?.weighStart('spare')
  const to = { slot, isWhole, scratch: options.scratch, cgroup }
  const release = () => {
    // No process has entered it, and it has no lease yet.
    cgroup?.remove()
    slot?.release()
  }
  const isForked = command.jailKind === 'embedded' && spec.program === 'python' && !spec.fresh
  const zygotes = isForked ? parts.zygotes : undefined
  const jail = zygotes && composeForked(ready, parts.facts, options)
  return {
    fork: jail && (() => forkOne(id, { command, jail }, to, found, zygotes.of(spec.image))),
    exec() {
      try {
        return { command, resources: spawnWall(id, command, to, found, parts.launcher) }
      } catch (error) {
        release()
        throw error
      }
    },
    release,
  }
}

function optionsFor(
  wall: {
    readonly id: string
    readonly slot: Slot | undefined
    readonly spec: EnclosureSpec
    readonly isWhole: boolean
  },
  sentinel: CProgramLookup | undefined,
  { facts, without, compiled, prefer, launcher, cgroups }: StartParts,
) {
  const { id, slot, spec, isWhole } = wall
  const hasRoot = facts.namespaces && !without.includes('namespaces')
  return {
    uid: slot?.uid,
    without,
    compiled: isWhole ? undefined : compiled.folder(insideUid(facts, slot?.uid)),
    prefer,
    scratch: isWhole && !hasRoot ? wallFolder(id) : undefined,
    sentinel,
    calls: spec.calls,
    hasLauncher: launcher !== undefined,
    isInGroup: cgroups !== undefined,
    layers: isWhole && spec.layers ? findLayers(spec.layers) : [],
  }
}

async function forkOne(
  id: string,
  { command, jail }: { readonly command: JailCommand; readonly jail: ForkedJail },
  to: Parameters<typeof forkTemplate>[2],
  sentinel: CProgram | undefined,
  templates: Promise<Zygotes | undefined>,
): Promise<SpawnedWall | undefined> {
  try {
    const zygotes = await templates
    if (!zygotes || !(await zygotes.has(jail.template))) return undefined
    const resources = await forkTemplate(id, { command, jail }, to, sentinel, zygotes)
    const missing = [...command.missing, sharedLayout]
    return { command: { ...command, missing }, resources, zygotes }
  } catch {
    return undefined
  }
}

/** A wall without namespaces has no root of its own, so it would show the host's files in place of the image. */
function rootFor(image: string, { facts, without }: StartParts): string {
  if (facts.namespaces && !without.includes('namespaces')) return findImageRoot(image)
  throw new MayflyError(
    'UNAVAILABLE',
    'Cannot start a program in an image: namespaces are not available',
    { hint: 'Run "mayfly doctor" for the reason' },
  )
}

/** Jail kind of a request; this engine's row in the table has no other mechanisms. */
function jailKindOf({ mechanism }: EnclosureSpec): 'any' | JailKind {
  return jailKinds.find((kind) => kind === mechanism) ?? 'any'
}

/** Uid of a program inside: root of its user namespace if the embedded jail creates one. */
function insideUid(facts: JailFacts, uid: number | undefined): number {
  if (uid !== undefined) return uid
  return facts.namespaces && !facts.root ? 0 : (process.getuid?.() ?? 0)
}
