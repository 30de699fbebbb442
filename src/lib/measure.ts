/** Timing for benches: medians and tails of many single runs, in milliseconds. */
export interface Figures {
  readonly n: number
  readonly p50: number
  readonly p99: number
  readonly min: number
  readonly max: number
}

export function figures(samples: readonly number[]): Figures {
  const sorted = [...samples].sort((a, b) => a - b)
  const at = (share: number) =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)
  return { n: sorted.length, p50: at(0.5), p99: at(0.99), min: at(0), max: at(1) }
}

const round = (ms: number) => Math.round(ms * 1000) / 1000

/** Duration of `work`, in milliseconds. */
export async function timed(work: () => unknown): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

/** Runs a second, `atOnce` concurrently, for `ms`. */
export async function rate(
  work: () => Promise<unknown>,
  atOnce: number,
  ms: number,
): Promise<number> {
  const began = performance.now()
  let done = 0
  const worker = async () => {
    while (performance.now() - began < ms) {
      await work()
      done++
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return Math.round((done * 1000) / (performance.now() - began))
}
