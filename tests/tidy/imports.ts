import { posix } from 'node:path'
import { parseSync } from 'oxc-parser'
import { isShipped, type Source } from './tree.ts'

/**
 * lib ← contract ← os ← jail ← launchers ← warden, and lib ← contract ← walls ← rooms ← life ← assemble ← doors ← cli. A file imports from its
 * own room and from what stands to the left of it, never from another room of the same rank.
 */
const launchers = /^src\/(tiers\/[^/]+|threat)\/(launch|destroy)\.ts$/
const ranks: readonly (readonly [rank: number, files: RegExp])[] = [
  [0, /^src\/lib\//],
  [1, /^src\/contract\//],
  [1.5, /^src\/agent-wire\//],
  [2, /^src\/os\//],
  [3, /^src\/jail\//],
  [4, launchers],
  // Kept by the command line, and read by the engine of machines.
  [4.5, /^src\/images\//],
  [5, /^src\/(warden|walls)\//],
  [6, /^src\/tiers\/[^/]+\//],
  [
    6,
    /^src\/(config|threat|intel|profile|folder-wall|pool|sessions|egress|lives|watch|zones|operate|effects|capabilities|folders|output|evidence|history|telemetry|packages|picture|provider-modules)\//,
  ],
  [6, /^src\/(job|outcome|shadow|exec-profile)\.ts$/],
  [7, /^src\/life\.ts$/],
  [7.3, /^src\/admit-exec\.ts$/],
  [7.4, /^src\/terminal\.ts$/],
  [7.5, /^src\/session\.ts$/],
  [8, /^src\/assemble\//],
  [9, /^src\/(gateway|fleet|sdk|web)\//],
  [10, /^src\/index\.ts$/],
  [10.5, /^src\/mcp\//],
  [11, /^src\/cli\//],
]
const wardenFolders = /^src\/(os|jail|warden)\//
/** Modules beside the engines' folders: what two engines do alike. `index.ts` is the warden's own table. */
const sharedByEngines = /^src\/warden\/engines\/(?!index\.ts$)[^/]+\.ts$/
const engineFolder = /^src\/warden\/engines\/[^/]+\//
/** The kernel, as the core of the warden may see it: itself, its compilers, its owner and its files; never the processes of a wall. */
const osOfCore =
  /^src\/os\/(compiler\.ts|libc\.js|find-program\.ts|priority\.ts|proc\.ts|read\.ts)$/
const namesProviders = new Set(['src/assemble/providers.ts', 'src/index.ts'])
/** Others that start processes, and what. */
const startersToo = new Map([
  ['src/sdk/start-warden.ts', 'the warden of a library'],
  ['src/sdk/bridge/connect.ts', 'the process of the road of an application under an older Node'],
  ['src/cli/leave-server.ts', 'the server that a run leaves behind'],
  ['src/cli/setup-actions.ts', 'steps of an operator who set a machine up'],
  ['src/images/run-program.ts', 'programs that make images'],
  ['src/cli/bench.ts', 'the plain process that figures are compared with'],
  ['guest/process/shell.js', 'inside a wall: the shell that runs a script'],
  ['guest/process/result.js', 'inside a wall: Node, asked where a source has its error'],
  ['guest/process/session.js', 'inside a wall: a command of a session'],
  ['guest/process/session-node.js', 'inside a wall: the kernel of a session of Node'],
  ['guest/process/session-shell.js', 'inside a wall: the kernel of a session of a shell'],
  ['guest/process/session-terminals.js', 'inside a wall: programs of the terminals of a session'],
])
/** Pure functions that walls and hosts both need; walls mount little else than guest/. */
const sharedByGuests = new Set(['guest/parse-json.js'])
const startsProcesses = new Set(['node:child_process', 'child_process', 'node:cluster', 'cluster'])

export interface Import {
  readonly specifier: string
  /** The file it means, relative to the root; undefined for packages and Node's own modules. */
  readonly path: string | undefined
  readonly isReExport: boolean
  /** Gone when types are stripped. */
  readonly isType: boolean
}

/** Imports of sources that were parsed: several rules ask for those of each. */
const parsed = new WeakMap<Source, readonly Import[]>()

/** Every import of a source: static, re-exporting, and dynamic with a plain string. */
export function importsOf(source: Source): readonly Import[] {
  return parsed.getOrInsertComputed(source, parseImports)
}

function parseImports({ path, text }: Source): readonly Import[] {
  const { module } = parseSync(path, text)
  const found = (specifier: string, isReExport = false, isType = false): Import => ({
    specifier,
    path: /^\.\.?\//.test(specifier) ? posix.join(posix.dirname(path), specifier) : undefined,
    isReExport,
    isType,
  })
  const exported = module.staticExports.flatMap(({ entries }) => entries)
  const dynamic = module.dynamicImports.map(({ moduleRequest: { start, end } }) =>
    text.slice(start, end),
  )
  return [
    ...module.staticImports.map(({ moduleRequest, entries }) =>
      found(moduleRequest.value, false, entries.length > 0 && entries.every(isTypeEntry)),
    ),
    ...exported.flatMap(({ moduleRequest, isType }) =>
      moduleRequest ? [found(moduleRequest.value, true, isType)] : [],
    ),
    ...dynamic
      .filter((code) => /^'[^']*'$|^"[^"]*"$/.test(code))
      .map((code) => found(code.slice(1, -1))),
  ]
}

function isTypeEntry({ isType }: { readonly isType: boolean }): boolean {
  return isType
}

/** Import faults of shipped code, a sentence each. */
export function importFaults(sources: readonly Source[]): readonly string[] {
  const shipped = sources.filter(({ path }) => isShipped(path))
  return shipped.flatMap((source) =>
    importsOf(source).flatMap((one) => {
      const why = faultOf(source.path, one)
      return why ? [`${source.path} imports ${one.path ?? one.specifier}: ${why}`] : []
    }),
  )
}

function faultOf(
  from: string,
  { specifier, path, isReExport, isType }: Import,
): string | undefined {
  if (startsProcesses.has(specifier) && !isType && !mayStart(from))
    return 'only the warden, its launchers and the jail start processes'
  if (isReExport && from !== 'src/index.ts') return 'only src/index.ts re-exports'
  if (path === undefined || path.endsWith('.json') || from.startsWith('bin/')) return undefined
  if (from.startsWith('guest/')) return guestFault(path)
  if (sharedByGuests.has(path)) return undefined
  if (path.startsWith('guest/')) return 'a guest is started as a program, never imported'
  return directionFault(from, path)
}

function guestFault(path: string): string | undefined {
  return /^(guest|src\/(os|lib|contract|threat))\//.test(path)
    ? undefined
    : 'a guest loads nothing of the server'
}

function directionFault(from: string, to: string): string | undefined {
  const [rankFrom, rankTo] = [rankOf(from), rankOf(to)]
  if (rankFrom === undefined) return `${from} is in no room`
  if (rankTo === undefined) return `${to} is in no room`
  if (/^src\/(os|jail)\//.test(to) && !isWardens(from)) return 'only the warden loads it'
  if (rankTo === 4 && !isWardens(from)) return 'only the warden loads it'
  const engineFault = from.startsWith('src/warden/') ? engineFaultOf(from, to) : undefined
  if (engineFault) return engineFault
  if (to.startsWith('src/tiers/') && rankTo === 6 && roomOf(from) !== roomOf(to))
    return namesProviders.has(from) ? undefined : 'only src/assemble/providers.ts names providers'
  if (rankTo > rankFrom) return 'imports go the other way'
  if (rankTo === rankFrom && roomOf(from) !== roomOf(to)) return 'rooms never import each other'
  return undefined
}

/** An engine alone knows what its walls are made of. */
function engineFaultOf(from: string, to: string): string | undefined {
  const engine = engineFolder.exec(from)?.[0]
  const isOfWalls = to.startsWith('src/jail/') || (to.startsWith('src/os/') && !osOfCore.test(to))
  const isShared = sharedByEngines.test(from) && to.startsWith('src/os/')
  if (engine === undefined && !isShared && (isOfWalls || launchers.test(to)))
    return 'only an engine knows what a wall is made of'
  if (sharedByEngines.test(to) && !from.startsWith('src/warden/engines/'))
    return 'only engines load what they share'
  const other = engineFolder.exec(to)?.[0]
  // Engines whose guests have an agent share what speaks to it.
  if (other === 'src/warden/engines/agent-guest/' && engine !== undefined) return undefined
  if (other === undefined || other === engine || from === 'src/warden/engines/index.ts')
    return undefined
  return 'only src/warden/engines/index.ts names engines'
}

function mayStart(from: string): boolean {
  return from.startsWith('bin/') || isWardens(from) || startersToo.has(from)
}

/** Loaded by the warden, never by the server. */
function isWardens(path: string): boolean {
  return wardenFolders.test(path) || launchers.test(path)
}

function rankOf(path: string): number | undefined {
  return ranks.find(([, files]) => files.test(path))?.[0]
}

function roomOf(path: string): string {
  return /^src\/(tiers\/)?[^/]+/.exec(path)?.[0] ?? path
}
