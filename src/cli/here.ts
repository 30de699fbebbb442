import { fileURLToPath } from 'node:url'
import type { AssembleOptions, Assembly } from '../assemble.ts'
import { loadConfig, type Loaded } from '../config/load.ts'
import type { WardenClient } from '../warden/client.ts'
import type { Role } from '../warden/main.ts'
import { takeEarly } from './early.ts'
import { note, type Globals } from './print.ts'

/**
 * Where the road runs for a command. A server always has a warden for a parent. A single run by an ordinary user
 * holds warden and road in one process; as root they are two, so that what reads untrusted bytes is not root.
 */
export type Here =
  /** This process was the warden; the command ran in its child and is over. */
  | { readonly kind: 'elsewhere' }
  | {
      readonly kind: 'here'
      readonly assembly: Assembly
      readonly loaded: Loaded
      readonly role: Role | undefined
      close(): Promise<void>
    }

const BIN = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url))

export async function openHere(
  flags: Globals,
  kind: AssembleOptions['kind'],
  more: {
    readonly flags?: Readonly<Record<string, unknown>>
    readonly sinks?: AssembleOptions['sinks']
  } = {},
): Promise<Here> {
  const loaded = loadHere(flags, more.flags)
  const role = roleOf()
  if (!role && (kind === 'server' || process.getuid?.() === 0)) {
    await startElsewhere(loaded)
    return { kind: 'elsewhere' }
  }
  const warden = await wardenOf(role, loaded)
  const { assemble } = await import('../assemble.ts')
  const assembly = assemble({ config: loaded.config, warden, kind, sinks: more.sinks ?? [] })
  return {
    kind: 'here',
    assembly,
    loaded,
    role,
    close: async () => void (await assembly[Symbol.asyncDispose]()),
  }
}

/** The configuration of this command; says which file it came from. */
export function loadHere(flags: Globals, given: Readonly<Record<string, unknown>> = {}): Loaded {
  const loaded = loadConfig({
    file: flags.config,
    env: process.env,
    flags: { '--state': flags.state, ...given },
    cwd: process.cwd(),
  })
  if (roleOf() === undefined) {
    for (const file of loaded.files) note(flags, `Configuration: ${file}`)
    for (const warning of loaded.warnings) note(flags, `Warning: ${warning}`)
  }
  return loaded
}

/** The client of whichever warden this process has: its parent, or one it holds itself. */
export async function wardenOf(role: Role | undefined, loaded: Loaded): Promise<WardenClient> {
  if (role) {
    const { joinWarden } = await import('../warden/client.ts')
    const lost = () => process.kill(process.pid, 'SIGKILL')
    process.on('disconnect', lost)
    return joinWarden(process, async () => {
      process.off('disconnect', lost)
      process.disconnect?.()
    })
  }
  const early = await takeEarly(loaded.config.state)
  const { holdEarly } = await import('../warden/local.ts')
  return holdEarly(early)
}

export function roleOf(): Role | undefined {
  const text = process.env['MAYFLY_ROLE']
  return text && process.connected ? (JSON.parse(text) as Role) : undefined
}

/** Becomes the warden; the command runs again in its child, and this resolves with its end. */
export async function startElsewhere(loaded: Loaded): Promise<void> {
  const { state: stateFolder } = loaded.config
  const early = await takeEarly(stateFolder)
  const { becomeWarden } = await import('../warden/main.ts')
  process.exitCode = await becomeWarden({
    argv: process.argv.slice(2),
    bin: BIN,
    stateFolder,
    early,
  })
}
