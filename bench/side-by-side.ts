import { figures, type Figures } from '../src/lib/measure.ts'

export interface Contender {
  readonly name: string
  /** Returns the time of one run, in milliseconds, without its set-up and tear-down. */
  once(): Promise<number>
}

/**
 * Consecutive runs of one contender, and how many of them are discarded: the previous one left its traces in
 * caches and on other cores.
 */
const TURN = 25
const SETTLE = 5

/**
 * Interleaves all contenders, so that other load on the machine affects them equally. `pauseMs` between runs
 * lets the pool refill. Each contender first runs `warm` times, so that V8 has compiled what runs often.
 */
export async function sideBySide(
  contenders: readonly Contender[],
  rounds: number,
  pauseMs: number,
  warm = 0,
): Promise<ReadonlyMap<string, Figures>> {
  const timeOf = async ({ once }: Contender) => {
    const took = await once()
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
    return took
  }
  for (const one of contenders) for (let run = 0; run < warm; run++) await timeOf(one)
  const samples = new Map(contenders.map(({ name }) => [name, [] as number[]]))
  for (let counted = 0; counted < rounds; counted += TURN) {
    for (const one of contenders) {
      for (let run = -SETTLE; run < Math.min(TURN, rounds - counted); run++) {
        const took = await timeOf(one)
        if (run >= 0) samples.get(one.name)!.push(took)
      }
    }
  }
  return new Map([...samples].map(([name, list]) => [name, figures(list)]))
}
