import type { Command } from 'commander'
import { printJson, type Globals } from './print.ts'

export function register(program: Command): void {
  program
    .command('providers')
    .description('each kind of wall: is it there, what does it hold, and if not, why')
    .action(async (_own, command: Command) => {
      const flags = command.optsWithGlobals<Globals>()
      const { openHere } = await import('./here.ts')
      const here = await openHere(flags, 'once')
      try {
        const proved = await here.assembly.providers()
        const { providerRows } = await import('./rows.ts')
        if (flags.json) return printJson(providerRows(proved))
        const { wallsText } = await import('./walls.ts')
        process.stdout.write(`${wallsText(proved, process.stdout)}\n`)
      } finally {
        await here.close()
      }
    })
}
