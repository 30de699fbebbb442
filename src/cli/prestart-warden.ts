import { lastFlag } from '../lib/last-flag.ts'
import { stateFolder as folderOf, wasLatestKnown } from '../lib/state-folder.ts'
import type { EarlyWarden } from '../warden/early.ts'
import type { EnclosureSpec } from '../contract/engine.ts'
import { asksForHelp, isOrder } from './command-line.ts'

/**
 * Starts the warden and first walls before Mayfly is loaded, because a wall takes longer to start than Mayfly to
 * load. `takePrestartedWarden` transfers ownership; an unclaimed warden ends with the command.
 */
let early: EarlyWarden | undefined
const stateFolder = Promise.withResolvers<string>()

/** Walls that `assemble` requests first, by command. */
const aheadOf: Readonly<Record<string, readonly EnclosureSpec[]>> = {
  run: [
    { program: 'isolated-vm', spares: 0, spareMiB: 128 },
    { program: 'analyst', spares: 0, spareMiB: 8 },
  ],
  serve: [
    { program: 'isolated-vm', spares: 8, spareMiB: 128 },
    { program: 'analyst', spares: 20, spareMiB: 8 },
  ],
}

/** Walls to start ahead; none in a child of a warden, or for --help. */
export function wallsAhead(
  verb: string | undefined,
  argv: readonly string[],
): readonly EnclosureSpec[] {
  if (asksForHelp(argv) || isOrder(argv)) return []
  if (process.env['MAYFLY_ROLE'] || process.platform !== 'linux') return []
  const ahead = aheadOf[verb ?? ''] ?? []
  return verb === 'run' && isLikelyKnown(argv)
    ? ahead.filter(({ program }) => program !== 'analyst')
    : ahead
}

/** A wrong guess only costs time. */
function isLikelyKnown(argv: readonly string[]): boolean {
  try {
    return wasLatestKnown(folderOf(process.env, process.getuid?.(), lastFlag(argv, '--state')))
  } catch {
    return false
  }
}

/** For a process that is both warden and server. A separate warden starts its server first, which takes longest. */
export async function prestartWarden(ahead: readonly EnclosureSpec[]): Promise<void> {
  if (ahead.length === 0) return
  const { openEarly } = await import('../warden/early.ts')
  early = openEarly({ stateFolder: stateFolder.promise }, ahead)
}

/** Takes the warden and sets its state folder. */
export async function takePrestartedWarden(folder: string): Promise<EarlyWarden> {
  stateFolder.resolve(folder)
  const taken = early
  early = undefined
  if (taken) return taken
  const { openEarly } = await import('../warden/early.ts')
  return openEarly({ stateFolder: folder })
}

/** Closes an unclaimed warden. */
export async function closePrestartedWarden(): Promise<void> {
  await early?.warden.close()
  early = undefined
}
