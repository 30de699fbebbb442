/** Files that run sequentially, or with bounded concurrency, in parallel to other lanes. */
export interface Lane {
  readonly files: readonly string[]
  readonly atATime: number
}

/**
 * Files that measure the machine: CPU shares, host memory, latencies. Only one of these at a time, beside files that
 * mostly wait.
 */
export const measuring: readonly string[] = [
  'tests/doors/anomalies.test.ts',
  'tests/doors/bench.test.ts',
  'tests/doors/doctor-bites.test.ts',
  'tests/doors/load.test.ts',
  'tests/doors/overhead.test.ts',
  'tests/doors/quota.test.ts',
  'tests/doors/s3.test.ts',
  'tests/doors/stream-served.test.ts',
  'tests/hostile/default-limits.test.ts',
  'tests/hostile/mayfly.test.ts',
  'tests/hostile/process/host.test.ts',
  'tests/walls/abusers.test.ts',
  'tests/doors/abusers-http.test.ts',
  'tests/walls/hurried.test.ts',
  'tests/walls/isolate-figures.test.ts',
  'tests/walls/life-of-a-program.test.ts',
  'tests/walls/phases-under-attack.test.ts',
  'tests/walls/process-figures.test.ts',
  'tests/walls/program-zones.test.ts',
  'tests/walls/provider-proof.test.ts',
  'tests/walls/sentinel-ways-round.test.ts',
  'tests/walls/tighten.test.ts',
]

/**
 * Files that compare latencies alone and under load, look for the shape of processor time, or keep all processors busy
 * by themselves (emulated machines, soaks): in the long run they come last, in this order, one at a time with nothing beside
 * them.
 */
export const lonely: readonly string[] = [
  'tests/doors/abusers-http.test.ts',
  'tests/doors/anomaly-programs.test.ts',
  'tests/hostile/default-limits.test.ts',
  'tests/hostile/sessions/mayfly.test.ts',
  'tests/walls/life-of-a-program.test.ts',
  'tests/walls/process-soak.test.ts',
  'tests/walls/program-zones.test.ts',
  'tests/walls/sentinel.test.ts',
  'tests/walls/warden-whole.test.ts',
  'tests/conformance/gvisor.test.ts',
  'tests/hostile/process/gvisor.test.ts',
  'tests/conformance/userkernel.test.ts',
  'tests/hostile/process/userkernel.test.ts',
  'tests/conformance/microvm.test.ts',
  'tests/hostile/process/microvm.test.ts',
  'tests/walls/machine-forged-frames.test.ts',
  'tests/walls/machine-fork-kills.test.ts',
  'tests/walls/machine-forks.test.ts',
  'tests/walls/machine-clones.test.ts',
  'tests/walls/clone-counts.test.ts',
]

/** Files that run beside others in a long run, and those that it takes last. */
export function lonelyLast(files: readonly string[]) {
  const last = lonely.filter((file) => files.includes(file))
  return { others: files.filter((file) => !lonely.includes(file)), last }
}

/**
 * Files without measurements that run after those in the same lane: to balance the lanes, or because they load what
 * a file of that lane measures.
 */
export const behind: readonly string[] = [
  'tests/conformance/gvisor.test.ts',
  'tests/doors/access.test.ts',
  'tests/doors/anomaly-programs.test.ts',
  'tests/doors/capabilities.test.ts',
  'tests/doors/cli-ends.test.ts',
  'tests/doors/evidence.test.ts',
  'tests/doors/firefox.test.ts',
  'tests/doors/library.test.ts',
  'tests/doors/page.test.ts',
  'tests/doors/serve.test.ts',
  'tests/doors/telemetry.test.ts',
  'tests/hostile/bites.test.ts',
  'tests/hostile/process/gvisor.test.ts',
  'tests/walls/gvisor.test.ts',
  'tests/walls/process-faults.test.ts',
  // Both pack the checkout.
  'tests/doors/pack.test.ts',
  'tests/walls/container-image.test.ts',
  // All three use one uid for their containers, and each ends all processes of that uid with its last test.
  'tests/conformance/containers.test.ts',
  'tests/hostile/process/containers.test.ts',
  'tests/walls/containers.test.ts',
]

/** Slowest files, which start first to shorten the run. */
export const longest: readonly string[] = [
  'tests/doors/docs.test.ts',
  'tests/doors/doctor.test.ts',
  'tests/doors/root-verbs.test.ts',
  'tests/conformance/process.test.ts',
  'tests/hostile/process/mayfly.test.ts',
  'tests/hostile/memory.test.ts',
  'tests/hostile/mayfly.test.ts',
  'tests/hostile/bites.test.ts',
  'tests/hostile/process/bites.test.ts',
  'tests/walls/process-faults.test.ts',
  'tests/doors/same-everywhere.test.ts',
  'tests/doors/lifecycle.test.ts',
  'tests/hostile/process/layers.test.ts',
  'tests/walls/life-of-a-program.test.ts',
  'tests/walls/process-figures.test.ts',
  'tests/walls/process-soak.test.ts',
  'tests/walls/program-zones.test.ts',
  'tests/walls/warden-whole.test.ts',
  'tests/hostile/process/host.test.ts',
  'tests/doors/cli.test.ts',
  'tests/walls/sentinel.test.ts',
  // With the counts of a long run these take half an hour and more.
  'tests/doors/installed-runs.test.ts',
  'tests/walls/image-roots.test.ts',
  'tests/doors/machine-kills.test.ts',
]

/** Lanes for files in separate processes: measuring files sequentially, beside two others. */
export function lanesOf(files: readonly string[]): readonly Lane[] {
  const ordered = files.toSorted((a, b) => placeOf(a) - placeOf(b))
  const last = ordered.filter((file) => behind.includes(file))
  const first = ordered.filter((file) => measuring.includes(file))
  const others = ordered.filter((file) => !first.includes(file) && !last.includes(file))
  return [
    { files: [...first, ...last], atATime: 1 },
    { files: others, atATime: 2 },
  ]
}

/** Files of two suites and two users at once, for workers that take the next when they have ended one. */
export interface Batches {
  /** For one worker, in this order. */
  readonly alone: readonly string[]
  /** For any worker. Several short files share the start of a runner. */
  readonly others: readonly (readonly string[])[]
}

const batchLength = 6

export function batchesOf(files: readonly string[], length = batchLength): Batches {
  const [alone, others] = lanesOf(files).map((lane) => lane.files) as [string[], string[]]
  const short = others.filter((file) => !longest.includes(file))
  const batches = Array.from({ length: Math.ceil(short.length / length) }, (_, at) =>
    short.slice(at * length, (at + 1) * length),
  )
  return {
    alone,
    others: [...others.filter((file) => longest.includes(file)).map((file) => [file]), ...batches],
  }
}

/** Lanes for files that share a process: one lane per processor. */
export function sharesOf(files: readonly string[], processors: number): readonly Lane[] {
  return Array.from({ length: processors }, (_, lane) => ({
    files: files.filter((_file, at) => at % processors === lane),
    atATime: 1,
  }))
}

function placeOf(file: string): number {
  const place = longest.indexOf(file)
  return place === -1 ? longest.length : place
}
