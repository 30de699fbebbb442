import type { Command } from 'commander'
import { printJson, table, type Globals } from './print.ts'

export function register(program: Command): void {
  program
    .command('providers')
    .description('each kind of wall: is it there, what does it hold, and if not, why')
    .action(async (_own, command: Command) => {
      const flags = command.optsWithGlobals<Globals>()
      const { openHere } = await import('./here.ts')
      const here = await openHere(flags, 'once')
      try {
        const { providerRows } = await import('./rows.ts')
        const rows = providerRows(await here.assembly.providers())
        if (flags.json) return printJson(rows)
        const lines = rows.map((row) => [
          row.available ? '✓' : '✗',
          row.name,
          row.tier,
          String(row.strength),
          row.available
            ? `tightens ${row.tightens.join(', ') || 'nothing'}`
            : `${row.reason}. ${row.fix}`,
        ])
        process.stdout.write(`${table([['', 'name', 'tier', 'strength', ''], ...lines])}\n`)
      } finally {
        await here.close()
      }
    })
}
