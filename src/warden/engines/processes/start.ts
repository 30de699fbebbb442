import { randomBytes } from 'node:crypto'
import type { EnclosureSpec } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import type { Compiled } from '../../../jail/compiled.ts'
import { jailKinds, type JailKind } from '../../../contract/jail-kind.ts'
import { sharedLayout } from '../../../contract/shared-layout.ts'
import type { JailCommand, JailedProgram } from '../../../jail/embedded.ts'
import { findImageRoot, programOfImage } from '../../../jail/image-root.ts'
import { composeForked, type ForkedJail } from '../../../jail/forked.ts'
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
import { forkWall, spawnWall } from './spawn.ts'
import type { ImageZygotes } from './image-zygotes.ts'
import type { Zygotes } from './zygotes.ts'

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
  /** Templates that walls are forked from; undefined where each is started by an exec. */
  readonly zygotes: ImageZygotes | undefined
}

export interface SpawnedWall {
  readonly command: JailCommand
  readonly resources: WallResources
}

/** A wall with its uid, cgroup and scratch folder, of which no process runs yet. */
export interface PlannedWall {
  /** Forks it; undefined where no template is there, or it failed: then `exec` is next. Undefined for other programs. */
  readonly fork: (() => Promise<SpawnedWall | undefined>) | undefined
  /** Starts it by an exec. Releases all before it throws. */
  exec(): SpawnedWall
  release(): void
}

/** Takes a uid, a cgroup and a scratch folder, and composes the jail. Releases all of them before it throws. */
export function planWall(
  spec: EnclosureSpec,
  program: JailedProgram,
  sentinel: FoundCProgram | undefined,
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
  sentinel: FoundCProgram | undefined,
  parts: StartParts,
): PlannedWall {
  const id = `w${randomBytes(8).toString('hex')}`
  const isWhole = program.whole !== undefined
  const ready = spec.image
    ? programOfImage(joinedUnlessPython(program, parts.compiled), rootFor(spec.image, parts))
    : prepared(program, parts.compiled)
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
    // No process entered it, and no lease names it yet.
    cgroup?.remove()
    slot?.release()
  }
  const isForked = command.jailKind === 'embedded' && spec.program === 'python' && !spec.fresh
  const zygotes = isForked ? parts.zygotes?.of(spec.image) : undefined
  const jail = zygotes && composeForked(ready, parts.facts, options)
  return {
    fork: jail && (() => forkOne(id, { command, jail }, to, found, zygotes)),
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
  sentinel: FoundCProgram | undefined,
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
  to: Parameters<typeof forkWall>[2],
  sentinel: CProgram | undefined,
  zygotes: Zygotes,
): Promise<SpawnedWall | undefined> {
  try {
    if (!(await zygotes.has(jail.template))) return undefined
    const resources = await forkWall(id, { command, jail }, to, sentinel, zygotes)
    return { command: { ...command, missing: [...command.missing, sharedLayout] }, resources }
  } catch {
    return undefined
  }
}

/** A wall without namespaces has no root: it could only be shown this system in place of the image. */
function rootFor(image: string, { facts, without }: StartParts): string {
  if (facts.namespaces && !without.includes('namespaces')) return findImageRoot(image)
  throw new MayflyError(
    'UNAVAILABLE',
    'Cannot start a program in an image: this machine makes no namespaces',
    { hint: '"mayfly doctor" says why' },
  )
}

function joinedUnlessPython(program: JailedProgram, { joined }: Compiled): JailedProgram {
  return program.whole?.interpreter === pythonFile ? program : joinedProgram(program, joined)
}

/** The code of Python's standard library that was compiled is of this system's Python. */
function prepared(program: JailedProgram, compiled: Compiled): JailedProgram {
  const { whole } = program
  const { python } = compiled
  if (whole?.interpreter !== pythonFile) return joinedUnlessPython(program, compiled)
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
