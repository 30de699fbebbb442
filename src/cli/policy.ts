import { type Command, Option } from 'commander'
import { explainConfig, type EffectiveValue } from '../config/explain.ts'
import { type LoadedConfig, loadConfig } from '../config/load.ts'
import { configError, type Issue } from '../config/parse.ts'
import { MayflyError } from '../contract/error.ts'
import { usageExitCode } from '../contract/exit-codes.ts'
import { formatValue } from './format-value.ts'
import { checkNamedThings } from './policy-check.ts'
import {
  changeLearned,
  learnedIn,
  learnedOf,
  proposals,
  writeNew,
  type ProposalQuery,
} from './policy-propose.ts'
import { wholeNumber } from './option-values.ts'
import { simulatedText, simulateEgress, type EgressQuery } from './policy-simulate.ts'
import { trust, type TrustOptions } from './policy-trust.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { reportText, surfaceReport, surfaceWalls, type SurfaceQuery } from './policy-surface.ts'
import type { StoredBaseline } from '../watch/baseline-store.ts'
import { printDocument, type CliIo } from './cli-io.ts'
import type { Globals } from './print.ts'
import { ownerTask } from './state-owner.ts'

const thisProcess = (): CliIo => ({
  env: process.env,
  cwd: process.cwd(),
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  exit: (code) => {
    process.exitCode = code
  },
})

interface SimulateOptions extends Globals, Partial<EgressQuery> {
  readonly limit: number
}

interface ProposeOptions extends Globals, ProposalQuery {
  readonly write?: string
}

interface LearnedOptions extends Globals, ProposalQuery {
  readonly freeze?: boolean
  readonly reset?: boolean
}

/** Adds the `policy` verbs; exit code 0, or 2 for an invalid configuration or usage. */
export function register(program: Command, world: CliIo = thisProcess()): void {
  const policy = program.command('policy').description('inspect the configuration')
  policy
    .command('check')
    .description('check the configuration')
    .allowExcessArguments()
    .action((_: unknown, command: Command) => alone(command, world, check))
  policy
    .command('explain')
    .description('print each effective value with its origin')
    .allowExcessArguments()
    .action((_: unknown, command: Command) => alone(command, world, explain))
  policy
    .command('trust')
    .description(
      'trust the current content of a configuration file that is looser than the defaults',
    )
    .argument('[file]', 'the file (default: mayfly.toml)')
    .option('--list', 'list trusted files')
    .option('--remove', 'remove the trust of this file')
    .action((file: string | undefined, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<TrustOptions>()
      orUsage(options, world, () => trust(file, options, world))
    })
  policy
    .command('simulate')
    .description(
      'judge recorded runs by this configuration; with --egress, print the verdict for addresses; runs and sends nothing',
    )
    .option('--limit <n>', 'maximum of recorded runs', wholeNumber(1000), 100)
    .option('--egress <url...>', 'URLs of requests')
    .option('--allow <host...>', 'hosts granted to the job; default: the configured network')
    .option('--method <word>', 'HTTP method (default: GET)')
    .action((_: unknown, command: Command) => {
      const options = command.optsWithGlobals<SimulateOptions>()
      const { egress } = options
      return egress ? simulate({ ...options, egress }, world) : simulateRecorded(options, world)
    })
  policy
    .command('surface')
    .description(
      'list what a job can reach in each phase of a schedule: hosts, files, calls, limits',
    )
    .option(
      '--schedule <name>',
      'name of the schedule (default: the schedule of a job that names none)',
    )
    .addOption(
      new Option('--wall <tier>', 'tier of the wall').choices(surfaceWalls).default('process'),
    )
    .option('--allow <host...>', 'hosts granted to the job; default: the configured network')
    .option('--no-sentinel', 'assume a wall that cannot close system calls while a program runs')
    .action((_: unknown, command: Command) => surface(command.optsWithGlobals(), world))
  policy
    .command('propose')
    .description('print a schedule that limits effects to what their runs used')
    .option('--effect <id>', 'one effect only')
    .option('--tenant <name>', 'tenant of the effects (default: the first tenant)')
    .option('--write <file>', 'new output file (default: stdout)')
    .action((_: unknown, command: Command) => offer(command.optsWithGlobals(), world))
  policy
    .command('learned')
    .description('print baselines of effects as JSON; or freeze or reset them')
    .option('--effect <id>', 'one effect only')
    .option('--tenant <name>', 'tenant of the effects (default: the first tenant)')
    .option('--freeze', 'stop learning: new behavior of the effect is an anomaly from now on')
    .option('--reset', 'delete the baseline of the effect: learning starts again with its next run')
    .action((_: unknown, command: Command) => learned(command.optsWithGlobals(), world))
}

function offer(options: ProposeOptions, world: CliIo): void {
  withConfig(options, world, ({ config }) =>
    orUsage(options, world, () => {
      const all = proposals(config, options)
      if (all.length === 0 && !options.quiet) world.stderr('No baseline has been learned yet\n')
      const text = all.map(({ toml }) => toml).join('\n')
      if (options.write !== undefined) writeNew(options.write, text)
      if (options.json) return printDocument(world, all)
      if (options.write === undefined) world.stdout(text)
    }),
  )
}

function learned(options: LearnedOptions, world: CliIo): void {
  const { tenant } = options
  const task = ownerTask()
  if (task && tenant !== undefined)
    return tellLearned({ ...options, tenant }, world, task.state, () =>
      learnedIn(task.state, { ...options, tenant }),
    )
  withConfig(options, world, ({ config }) =>
    tellLearned(
      { ...options, tenant: tenant ?? config.tenants[0]!.name },
      world,
      config.state,
      () => learnedOf(config, options),
    ),
  )
}

function tellLearned(
  options: LearnedOptions & { readonly tenant: string },
  world: CliIo,
  state: string,
  read: () => readonly StoredBaseline[],
): void {
  orUsage(options, world, () => {
    const { tenant, effect, freeze, reset } = options
    if (!freeze && !reset) return printDocument(world, read())
    if (effect === undefined || (freeze && reset))
      throw new MayflyError(
        'USAGE',
        'Cannot change a baseline: expected "--effect" and one of "--freeze" and "--reset"',
      )
    const change = freeze ? 'freeze' : 'reset'
    const changed = changeLearned(state, { tenant, effect, change })
    if (changed === 0 && !ownerTask() && read().length === 0)
      throw new MayflyError(
        'USAGE',
        `Cannot ${change} a baseline: tenant "${tenant}" has none of effect "${effect}"`,
      )
    if (options.json) return printDocument(world, { changed })
    if (!options.quiet) world.stderr(`${changed} ${freeze ? 'frozen' : 'reset'}\n`)
  })
}

function orUsage({ json }: Globals, world: CliIo, work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof MayflyError) || error.code !== 'USAGE') throw error
    const { code, message } = error
    if (json) printDocument(world, { error: { code, message } })
    else world.stderr(`${sanitiseLine(message)}\n`)
    world.exit(usageExitCode)
  }
}

/** Refuses an operand, which is probably a file or a key. */
function alone(
  command: Command,
  world: CliIo,
  verb: (options: Globals, world: CliIo) => void,
): void {
  const options = command.optsWithGlobals<Globals>()
  const [operand] = command.args
  if (operand === undefined) return verb(options, world)
  const what = command.name() === 'explain' ? 'it prints all values, and ' : ''
  const message = `Cannot take "${operand}": "policy ${command.name()}" has no operands; ${what}"--config FILE" names the file`
  orUsage(options, world, () => {
    throw new MayflyError('USAGE', message)
  })
}

function check(options: Globals, world: CliIo): void {
  withConfig({ ...options, mayBeUntrusted: true }, world, (loaded) => {
    const { files, untrusted } = loaded
    const named = checkNamedThings(loaded, world)
    const [first, ...rest] = named.issues
    if (first) return refuse(configError([first, ...rest]), options, world)
    if (!options.quiet)
      for (const text of named.warnings) world.stderr(`Warning: ${sanitiseLine(text)}\n`)
    const warnings = [...loaded.warnings, ...named.warnings]
    const trusted = untrusted.length === 0
    if (options.json)
      return printDocument(world, { valid: true, trusted, files, issues: [], untrusted, warnings })
    const subject = files.length > 0 ? `"${files.join('", "')}"` : 'The default configuration'
    const but = trusted ? '' : ', and is not trusted: it is looser than the defaults'
    if (!options.quiet) world.stdout(`${subject} is valid${but}\n`)
    for (const { where, message } of untrusted) world.stderr(`${where}: ${sanitiseLine(message)}\n`)
    if (!trusted)
      world.stderr(`Review it, then run "mayfly policy trust", or name it with --config\n`)
  })
}

function explain(options: Globals, world: CliIo): void {
  withConfig(options, world, (loaded) => {
    const values = explainConfig(loaded)
    if (!options.json) return world.stdout(table(values))
    printDocument(world, { files: loaded.files, warnings: loaded.warnings, values })
  })
}

function surface(options: Globals & SurfaceQuery, world: CliIo): void {
  withConfig(options, world, ({ config }) =>
    orUsage(options, world, () => {
      const report = surfaceReport(config, options)
      if (options.json) printDocument(world, report)
      else world.stdout(reportText(report))
      if (report.grows.length > 0) world.exit(1)
    }),
  )
}

async function simulateRecorded(options: SimulateOptions, world: CliIo): Promise<void> {
  const { simulatedRunsText, simulateRuns } = await import('./policy-runs.ts')
  withConfig(options, world, ({ config }) =>
    orUsage(options, world, () => {
      if (options.allow || options.method !== undefined)
        throw new MayflyError('USAGE', 'Cannot use --allow or --method without --egress')
      const runs = simulateRuns(config, options)
      if (options.json) return printDocument(world, runs)
      world.stdout(simulatedRunsText(runs))
    }),
  )
}

function simulate(options: SimulateOptions & Pick<EgressQuery, 'egress'>, world: CliIo): void {
  withConfig(options, world, ({ config }) =>
    orUsage(options, world, () => {
      const all = simulateEgress(config, options)
      if (options.json) return printDocument(world, all)
      world.stdout(simulatedText(all))
    }),
  )
}

function withConfig(
  options: Globals & { readonly mayBeUntrusted?: boolean },
  world: CliIo,
  then: (loaded: LoadedConfig) => void,
): void {
  let loaded: LoadedConfig
  try {
    loaded = loadConfig({
      file: options.config,
      env: world.env,
      cwd: world.cwd,
      flags: { '--state': options.state },
      ...(options.mayBeUntrusted && { mayBeUntrusted: true }),
    })
  } catch (error) {
    if (!(error instanceof MayflyError)) throw error
    if (error.code !== 'CONFIG' && error.code !== 'CONFIG_UNTRUSTED') throw error
    return refuse(error, options, world)
  }
  if (!options.quiet)
    for (const text of loaded.warnings) world.stderr(`Warning: ${sanitiseLine(text)}\n`)
  then(loaded)
}

function refuse(error: MayflyError, options: Globals, world: CliIo): void {
  const { issues } = error.details as { readonly issues: readonly Issue[] }
  const { code, hint } = error
  if (options.json) printDocument(world, { valid: false, code, files: [], issues, warnings: [] })
  else for (const { where, message } of issues) world.stderr(`${where}: ${sanitiseLine(message)}\n`)
  if (!options.json && code === 'CONFIG_UNTRUSTED') world.stderr(`${code}: ${hint}\n`)
  world.exit(usageExitCode)
}

const COLUMN_MAX = 60

function table(values: readonly EffectiveValue[]): string {
  const rows = values.map(
    ({ field, value, origin }) =>
      [sanitiseLine(field), sanitiseLine(formatValue(field, value)), origin] as const,
  )
  const widths = ([0, 1] as const).map((column) =>
    Math.min(COLUMN_MAX, Math.max(...rows.map((row) => row[column].length))),
  )
  return rows
    .map(
      ([field, value, origin]) =>
        `${field.padEnd(widths[0]!)}  ${value.padEnd(widths[1]!)}  ${origin}\n`,
    )
    .join('')
}
