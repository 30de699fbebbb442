import type { Command } from 'commander'
import type { ProvedProvider } from '../contract/provider.ts'
import { paint, printJson, table, printText, type Globals } from './print.ts'

export function register(program: Command): void {
  program
    .command('providers')
    .description('what this machine can run, and each kind of wall; --verbose: layers and reasons')
    .action(async (_own, command: Command) => {
      const flags = command.optsWithGlobals<Globals>()
      const { openAssembly } = await import('./open-assembly.ts')

      await using opened = await openAssembly({ ...flags, verbose: false }, 'once')
      const isWhole = flags.verbose || flags.json
      const { provedWithin, probingMs } = await import('./proved-within.ts')
      const { proved, later } = await provedWithin(opened.assembly, isWhole ? Infinity : probingMs)
      const { providerRows } = await import('./provider-rows.ts')
      const rows = providerRows(proved, await opened.warden.facts())
      if (flags.json) return printJson(rows)
      const [{ wallsText }, { fixesText }] = await Promise.all([
        import('./walls-text.ts'),
        import('./missing-layers.ts'),
      ])
      const fixes = fixesText(rows.flatMap(({ missing }) => missing))
      const head =
        fixes.length > 0 ? ['', paint('bold', 'Fixes for missing layers', process.stdout)] : []
      const { wallsVerdict } = await import('./walls-verdict.ts')
      const details = [
        wallsText(proved, process.stdout),
        ...head,
        ...fixes.map((one) => `  ${one}`),
      ]
      const lines = [
        paint('bold', wallsVerdict(proved), process.stdout),
        ...(isWhole ? details : shortText(proved, later)),
      ]
      printText(lines.join('\n'))
    })
}

/** A line for each wall, the available ones first. */
function shortText(proved: readonly ProvedProvider[], later: readonly string[]): readonly string[] {
  const rows = proved.flatMap(({ provider: { name, tier, languages }, availability }) =>
    availability.available && tier !== 'mock'
      ? [['✓', name, tier, `strength ${availability.strength}`, languages.join(', ')]]
      : [],
  )
  const others = proved.flatMap(({ provider: { name }, availability }) =>
    availability.available ? [] : [['✗', name, availability.reason]],
  )
  return [
    ...(rows.length > 0 ? [table(rows)] : []),
    ...(others.length > 0 ? [table(others)] : []),
    ...(later.length > 0 ? [`·  ${later.join(', ')}: not probed in time`] : []),
    paint('dim', 'Layers and fixes: mayfly providers --verbose', process.stdout),
  ]
}
