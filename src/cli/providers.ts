import type { Command } from 'commander'
import { paint, printJson, type Globals } from './print.ts'

export function register(program: Command): void {
  program
    .command('providers')
    .description('list each kind of wall: availability, layers, and reasons for missing ones')
    .action(async (_own, command: Command) => {
      const flags = command.optsWithGlobals<Globals>()
      const { openAssembly } = await import('./open-assembly.ts')

      await using opened = await openAssembly(flags, 'once')
      const proved = await opened.assembly.providers()
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
      const lines = [wallsText(proved, process.stdout), ...head, ...fixes.map((one) => `  ${one}`)]
      process.stdout.write(`${lines.join('\n')}\n`)
    })
}
