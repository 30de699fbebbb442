import { tmpdir } from 'node:os'
import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { exitCodeOf } from '../contract/exit-codes.ts'
import { strengthOf, type TierName } from '../contract/tier.ts'
import type { Availability, ProvedProvider, Provider } from '../contract/provider.ts'
import type { MissingLayer } from '../contract/answers.ts'
import type { WallTrialResult } from '../walls/trials/try-walls.ts'
import type { Machine } from './doctor-machine.ts'
import type { FixContext } from './missing-layers.ts'
import { unlessStopped } from './stop-signal.ts'
import { paint, printJson, table, printText, type Globals } from './print.ts'
import { isWall, wallsVerdict, type BrokenPromise } from './walls-verdict.ts'

/** Provider as examined: its probe result and the trials of its walls. */
export interface ExaminedProvider {
  readonly name: string
  readonly tier: TierName
  readonly available: boolean
  readonly held: readonly WallTrialResult[]
  readonly layers: readonly string[]
  readonly missing: readonly MissingLayer[]
  /** Python libraries: versions, or errors. */
  readonly libraries?: Readonly<Record<string, string>>
  readonly reason?: string
  readonly fix?: string
}

export function register(program: Command): void {
  program
    .command('doctor')
    .argument('[providers...]', 'names of providers, as listed by "mayfly providers"; default: all')
    .description(
      'start a real sandbox of each kind, attack its wall, and report what held: within seconds, or in full with --verbose or a name',
    )
    .action(async (names: readonly string[], _own, command: Command) => {
      const flags = command.optsWithGlobals<Globals>()
      const { openAssembly } = await import('./open-assembly.ts')

      const isWhole = flags.verbose === true || flags.json === true || names.length > 0
      await using opened = await openAssembly({ ...flags, verbose: false }, 'once')
      const [{ machineFacts, warningsOf }, { fixContext }, facts] = await Promise.all([
        import('./doctor-machine.ts'),
        import('./missing-layers.ts'),
        opened.warden.facts(),
      ])
      const folders = [tmpdir(), opened.loaded.config.state]
      const { provedWithin, probingMs } = await import('./proved-within.ts')
      const found = await provedWithin(opened.assembly, isWhole ? Infinity : probingMs)
      const proved = named(found.proved, names)
      const where = { folders, context: fixContext(facts) }
      const providers = await unlessStopped(
        isWhole ? examine(proved, where) : tryQuickly(proved, where),
      )
      if (!providers) return
      const machine = machineFacts(facts)
      const report = { providers, machine, warnings: warningsOf(machine) }
      if (flags.json) printJson(report)
      else {
        const head = paint('bold', wallsVerdict(proved, brokenIn(providers), countOf(providers)))
        const lines = isWhole ? reportText(report) : shortText(report, found.later)
        printText([head, ...lines].join('\n'))
      }
      process.exitCode = exitCodeFor(providers)
    })
}

/** Throws MayflyError USAGE for a name that no provider has. */
function named<T extends { readonly provider: Pick<Provider, 'name'> }>(
  all: readonly T[],
  names: readonly string[],
): readonly T[] {
  const known = all.map(({ provider }) => provider.name)
  const unknown = names.find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw new MayflyError('USAGE', `Cannot find provider "${unknown}"`, {
      hint: `Known providers: ${known.join(', ')}; without a name, all are examined`,
    })
  return names.length === 0 ? all : all.filter(({ provider }) => names.includes(provider.name))
}

interface TrialPlace {
  readonly folders: readonly string[]
  readonly context: FixContext
}

/** Age of this process at which a short report starts no further trial. */
const TRYING_MS = 8_000

/** Tries each wall for its share of the time, at least once while there is any. */
async function tryQuickly(
  proved: readonly ProvedProvider[],
  { folders, context }: TrialPlace,
): Promise<readonly ExaminedProvider[]> {
  const [{ tryWalls }, { missingOf }] = await Promise.all([
    import('../walls/trials/try-walls.ts'),
    import('./missing-layers.ts'),
  ])
  const examined: ExaminedProvider[] = []
  let left = proved.filter(isWall).length
  for (const one of proved) {
    const { provider, availability } = one
    const { name, tier } = provider
    if (!availability.available) examined.push(notAvailable(provider, availability))
    else if (isWall(one)) {
      const share = Math.max(0, TRYING_MS - performance.now()) / left
      const until = performance.now() + share
      left -= 1
      const isOver = () => performance.now() >= until
      const held = share > 0 ? await tryWalls(provider, folders, isOver) : []
      const missing = missingOf(availability.missing, context)
      examined.push({ name, tier, available: true, held, layers: availability.layers, missing })
    }
  }
  return examined
}

function notAvailable(
  { name, tier }: Provider,
  { reason, fix }: Extract<Availability, { available: false }>,
): ExaminedProvider {
  return { name, tier, available: false, held: [], layers: [], missing: [], reason, fix }
}

/** Sequential: a fork bomb in one sandbox would distort another's trial. */
async function examine(
  proved: readonly ProvedProvider[],
  { folders, context }: TrialPlace,
): Promise<readonly ExaminedProvider[]> {
  const [{ tryWalls }, { tryLibraries }, { missingOf }] = await Promise.all([
    import('../walls/trials/try-walls.ts'),
    import('./doctor-libraries.ts'),
    import('./missing-layers.ts'),
  ])
  const examined: ExaminedProvider[] = []
  for (const { provider, availability } of proved) {
    const { name, tier } = provider
    if (process.stderr.isTTY) process.stderr.write(`Trying ${name} …\n`)
    if (availability.available) {
      const { layers } = availability
      const missing = missingOf(availability.missing, context)
      // Hostile guests are for walls: a provider that claims none would run them unbounded.
      const held = strengthOf[provider.tier] > 0 ? await tryWalls(provider, folders) : []
      const libraries = await tryLibraries(provider)
      const found = { held, layers, missing, ...(libraries && { libraries }) }
      examined.push({ name, tier, available: true, ...found })
    } else examined.push(notAvailable(provider, availability))
  }
  return examined
}

/** Exit code: 0 all held, 1 some did not, 7 no wall. A provider without a wall does not count. */
function exitCodeFor(providers: readonly ExaminedProvider[]): number {
  const walls = providers.filter(({ tier, available }) => available && strengthOf[tier] > 0)
  if (walls.length === 0) return exitCodeOf.unavailable
  const isWhole = walls.every(({ held }) => held.every((one) => one.held))
  return isWhole ? exitCodeOf.ok : exitCodeOf.error
}

interface DoctorReport {
  readonly providers: readonly ExaminedProvider[]
  readonly machine: Machine
  readonly warnings: readonly string[]
}

function reportText({ providers, machine, warnings }: DoctorReport): readonly string[] {
  const facts = Object.entries(machine).map(([name, value]) => [name, String(value ?? '-')])
  return [
    ...warnings.map(warningText),
    '',
    paint('bold', 'This machine'),
    table(facts),
    '',
    ...providers.flatMap(providerText),
  ]
}

const warningText = (warning: string): string => `${paint('yellow', '!')} ${warning}`

/** The machine in a line, and a line for each wall, the available ones first. */
function shortText(
  { providers, machine, warnings }: DoctorReport,
  later: readonly string[],
): readonly string[] {
  const { system, kernel, kernelBuilt, node, root } = machine
  const built = kernelBuilt === null ? '' : ` (built ${kernelBuilt})`
  const rows = providers.flatMap(({ name, tier, available, held }) =>
    available ? [['✓', name, tier, heldText(held)]] : [],
  )
  const others = providers.flatMap(({ name, available, reason = '' }) =>
    available ? [] : [['✗', name, reason]],
  )
  return [
    `${system}, kernel ${kernel}${built}, Node ${node}${root ? ', started by root' : ''}`,
    ...(rows.length > 0 ? [table(rows)] : []),
    ...(others.length > 0 ? [table(others)] : []),
    ...(later.length > 0 ? [`·  ${later.join(', ')}: not probed in time`] : []),
    ...warnings.map(warningText),
    paint('dim', 'Every trial, layers and fixes: mayfly doctor --verbose'),
  ]
}

function heldText(held: ExaminedProvider['held']): string {
  const broken = held.filter((one) => !one.held).map(({ wall }) => wall)
  if (held.length === 0) return 'not tried in time'
  const result = broken.length === 0 ? 'all held' : `not held: ${broken.join(', ')}`
  return `${held.length} trial${held.length > 1 ? 's' : ''}, ${result}`
}

function brokenIn(providers: readonly ExaminedProvider[]): readonly BrokenPromise[] {
  return providers.flatMap(({ name, held }) =>
    held.filter((one) => !one.held).map(({ wall }) => ({ wall: name, trial: wall })),
  )
}

function countOf(providers: readonly ExaminedProvider[]): number {
  return providers.reduce((sum, { held }) => sum + held.length, 0)
}

function pairs(of: Readonly<Record<string, string>>): string {
  return Object.entries(of)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')
}

function providerText(one: ExaminedProvider): readonly string[] {
  const head = paint('bold', `${one.name} (${one.tier})`)
  if (!one.available) return [`${paint('red', '✗')} ${head}: ${one.reason}`, `  ${one.fix}`]
  const rows = one.held.map(({ wall, held, how, by }) => [
    `  ${held ? '✓' : '✗'} ${wall}`,
    by === undefined ? how : `${how} (${by})`,
  ])
  return [
    head,
    table(rows.length > 0 ? rows : [['  nothing was tried: the doctor has no guest for it']]),
    ...(one.layers.length > 0 ? [`  layers: ${one.layers.join(', ')}`] : []),
    ...(one.libraries ? [`  python: ${pairs(one.libraries)}`] : []),
    ...one.missing.flatMap(({ layer, why, fix }) => [
      `  missing: ${layer}: ${why}`,
      ...(fix === undefined ? [] : [`    ${fix}`]),
    ]),
  ]
}
