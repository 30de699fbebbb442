import { tmpdir } from 'node:os'
import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { exitCodeOf } from '../contract/exit-codes.ts'
import { strengthOf, type TierName } from '../contract/tier.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import type { MissingLayer } from '../contract/answers.ts'
import type { WallTrialResult } from '../walls/trials/try-walls.ts'
import type { FixContext } from './missing-layers.ts'
import { unlessStopped } from './stop-signal.ts'
import { paint, printJson, table, type Globals } from './print.ts'

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
    .description('start a real sandbox of each kind, attack its wall, and report what held')
    .action(async (names: readonly string[], _own, command: Command) => {
      const flags = command.optsWithGlobals<Globals>()
      const { openAssembly } = await import('./open-assembly.ts')

      await using opened = await openAssembly(flags, 'once')
      const [{ machineFacts, warningsOf }, { fixContext }, facts] = await Promise.all([
        import('./doctor-machine.ts'),
        import('./missing-layers.ts'),
        opened.warden.facts(),
      ])
      const folders = [tmpdir(), opened.loaded.config.state]
      const proved = named(await opened.assembly.providers(), names)
      const providers = await unlessStopped(examine(proved, folders, fixContext(facts)))
      if (!providers) return
      const machine = machineFacts(facts)
      const report = { providers, machine, warnings: warningsOf(machine) }
      if (flags.json) printJson(report)
      else process.stdout.write(`${reportText(report)}\n`)
      process.exitCode = verdict(providers)
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

/** Sequential: a fork bomb in one sandbox would distort another's trial. */
async function examine(
  proved: readonly { readonly provider: Provider; readonly availability: Availability }[],
  folders: readonly string[],
  where: FixContext,
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
      const missing = missingOf(availability.missing, where)
      // Hostile guests are for walls: a provider that claims none would run them unbounded.
      const held = strengthOf[provider.tier] > 0 ? await tryWalls(provider, folders) : []
      const libraries = await tryLibraries(provider)
      const found = { held, layers, missing, ...(libraries && { libraries }) }
      examined.push({ name, tier, available: true, ...found })
    } else {
      const { reason, fix } = availability
      const nothing = { held: [], layers: [], missing: [] }
      examined.push({ name, tier, available: false, ...nothing, reason, fix })
    }
  }
  return examined
}

/** Exit code: 0 all held, 1 some did not, 7 no wall. A provider without a wall does not count. */
function verdict(providers: readonly ExaminedProvider[]): number {
  const walls = providers.filter(({ tier, available }) => available && strengthOf[tier] > 0)
  if (walls.length === 0) return exitCodeOf.unavailable
  const isWhole = walls.every(({ held }) => held.every((one) => one.held))
  return isWhole ? exitCodeOf.ok : exitCodeOf.error
}

interface DoctorReport {
  readonly providers: readonly ExaminedProvider[]
  readonly machine: object
  readonly warnings: readonly string[]
}

function reportText({ providers, machine, warnings }: DoctorReport): string {
  const facts = Object.entries(machine).map(([name, value]) => [name, String(value ?? '-')])
  return [
    ...providers.flatMap(providerText),
    '',
    paint('bold', 'This machine'),
    table(facts),
    ...warnings.map((warning) => `${paint('yellow', '!')} ${warning}`),
  ].join('\n')
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
