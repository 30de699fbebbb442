import { carveMain, carveZone } from '../../src/zones/carve.ts'
import { Exchange } from '../../src/zones/exchange.ts'
import { inspect } from '../../src/threat/inspect.ts'

/** Observable end of a program. */
export interface ProgramEnd {
  readonly result?: unknown
  readonly error?: string
  readonly printed: readonly string[]
}

// oxlint-disable-next-line no-empty-function
const AsyncFunction = (async () => {}).constructor as FunctionConstructor

/** Split of a source, parsed as a function body. */
export function splitOf(code: string) {
  return inspect({ code, entry: 'body', files: [], zones: true }).split!
}

/** Runs a generated program in one piece, in this process: never untrusted code. */
export async function runWhole(code: string, input: unknown): Promise<ProgramEnd> {
  const printed: string[] = []
  return await told(printed, () => run(code, printed, input, () => Promise.resolve(null)))
}

/** Runs the same program in zones, through the real exchange. */
export async function runSplit(code: string, input: unknown): Promise<ProgramEnd> {
  const found = splitOf(code)
  const printed: string[] = []
  const permitted = new Map([
    ['main', found.calls],
    ...found.zones.map((zone) => [zone.name, zone.calls] as const),
  ])
  const exchange = new Exchange({ permitted, note: () => undefined })
  const program = { code, entry: 'body' } as const
  const talk = (zone: string) => async (_name: string, args: unknown) =>
    JSON.parse(await exchange.handle(zone, JSON.stringify(args))) as unknown
  const served = found.zones.map((zone) =>
    run(carveZone(program, zone).code, printed, null, talk(zone.name)),
  )
  const end = await told(printed, () =>
    run(carveMain(program, found).code, printed, input, talk('main')),
  )
  for (const { name } of found.zones) exchange.end(name, 'over')
  await Promise.all(served)
  return end
}

type Talk = (name: string, args: unknown) => Promise<unknown>

function run(code: string, printed: string[], input: unknown, call: Talk): Promise<unknown> {
  const log = (...all: unknown[]) => void printed.push(all.map((one) => JSON.stringify(one)).join())
  const made = new AsyncFunction('input', 'call', 'console', code)
  return made(structuredClone(input), call, { log }) as Promise<unknown>
}

async function told(printed: readonly string[], run: () => Promise<unknown>): Promise<ProgramEnd> {
  try {
    return { result: await run(), printed }
  } catch (error) {
    const { name, message } = error as Error
    return { error: `${name}: ${message}`, printed }
  }
}
