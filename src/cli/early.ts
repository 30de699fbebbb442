import type { EarlyWarden } from '../warden/early.ts'
import type { Wanted } from '../warden/program.ts'

/**
 * A wall takes longer to start than all of Mayfly to load, so a command that will need some starts them first.
 * Whoever takes the warden owns it; if nobody does, the command ends it.
 */
let early: EarlyWarden | undefined
const stateFolder = Promise.withResolvers<string>()

/** What `assemble` asks the warden for first, by the kind of command. */
const aheadOf: Readonly<Record<string, readonly Wanted[]>> = {
  run: [
    { program: 'isolated-vm', spares: 0, spareMiB: 128 },
    { program: 'analyst', spares: 0, spareMiB: 8 },
  ],
  serve: [
    { program: 'isolated-vm', spares: 8, spareMiB: 128 },
    { program: 'analyst', spares: 20, spareMiB: 8 },
  ],
}

/** Nothing for a process that has a warden for a parent, and nothing where only help was asked for. */
export async function startEarly(verb: string | undefined, argv: readonly string[]): Promise<void> {
  const ahead = aheadOf[verb ?? '']
  const isHelp = argv.includes('--help') || argv.includes('-h')
  if (!ahead || isHelp || process.env['MAYFLY_ROLE'] || process.platform !== 'linux') return
  const { openEarly } = await import('../warden/early.ts')
  early = openEarly({ stateFolder: stateFolder.promise }, ahead)
}

/** The warden, and where it may write from now on. */
export async function takeEarly(folder: string): Promise<EarlyWarden> {
  stateFolder.resolve(folder)
  const taken = early
  early = undefined
  if (taken) return taken
  const { openEarly } = await import('../warden/early.ts')
  return openEarly({ stateFolder: folder })
}

/** Ends what nobody took. */
export async function closeEarly(): Promise<void> {
  await early?.warden.close()
  early = undefined
}
