import { tmpdir } from 'node:os'
import type { Command } from 'commander'
import { exitCodeOf } from '../contract/outcome.ts'
import type { Availability, Provider } from '../contract/provider.ts'
import type { MissingLayer } from '../contract/answers.ts'
import type { Held } from './doctor-walls.ts'
import type { Where } from './missing.ts'
import { paint, printJson, table, type Globals } from './print.ts'

/** One provider as the doctor found it: what its probe proved, and what each wall did when it was tried. */
export interface Examined {
  readonly name: string
  readonly tier: string
  readonly available: boolean
  readonly held: readonly Held[]
  readonly layers: readonly string[]
  readonly missing: readonly MissingLayer[]
  /** Libraries of its Python: versions, or why one does not load. */
  readonly libraries?: Readonly<Record<string, string>>
  readonly reason?: string
  readonly fix?: string
}

export function register(program: Command): void {
  program
    .command('doctor')
    .description('starts a real sandbox of each kind, tries its walls, and says what held')
    .action(async (_own, command: Command) => {
      const flags = command.optsWithGlobals<Globals>()
      const { openHere } = await import('./here.ts')
      const here = await openHere(flags, 'once')
      try {
        const [{ machineFacts, warningsOf }, { whereOf }, facts] = await Promise.all([
          import('./doctor-machine.ts'),
          import('./missing.ts'),
          here.warden.facts(),
        ])
        const folders = [tmpdir(), here.loaded.config.state]
        const proved = await here.assembly.providers()
        const providers = await examine(proved, folders, whereOf(facts))
        const machine = machineFacts(facts)
        const report = { providers, machine, warnings: warningsOf(machine) }
        if (flags.json) printJson(report)
        else process.stdout.write(`${told(report)}\n`)
        process.exitCode = verdict(providers)
      } finally {
        await here.close()
      }
    })
}

/** One after the other: a bomb in one sandbox is no fair trial of another. */
async function examine(
  proved: readonly { readonly provider: Provider; readonly availability: Availability }[],
  folders: readonly string[],
  where: Where,
): Promise<readonly Examined[]> {
  const [{ tryLibraries, tryWalls }, { missingOf }] = await Promise.all([
    import('./doctor-walls.ts'),
    import('./missing.ts'),
  ])
  const examined: Examined[] = []
  for (const { provider, availability } of proved) {
    const { name, tier } = provider
    if (availability.available) {
      const { layers } = availability
      const missing = missingOf(availability.missing, where)
      const held = await tryWalls(provider, folders)
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

/** 0 all held, 1 one did not, 7 there is no wall. A mock is none. */
function verdict(providers: readonly Examined[]): number {
  const walls = providers.filter(({ tier, available }) => available && tier !== 'mock')
  if (walls.length === 0) return exitCodeOf.unavailable
  const isWhole = walls.every(({ held }) => held.every((one) => one.held))
  return isWhole ? exitCodeOf.ok : exitCodeOf.error
}

interface Told {
  readonly providers: readonly Examined[]
  readonly machine: object
  readonly warnings: readonly string[]
}

function told({ providers, machine, warnings }: Told): string {
  const facts = Object.entries(machine).map(([name, value]) => [name, String(value ?? '-')])
  return [
    ...providers.flatMap(toldOf),
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

function toldOf(one: Examined): readonly string[] {
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
