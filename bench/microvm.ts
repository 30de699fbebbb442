/**
 * Virtual machines of QEMU: a job in one that is booted for it, in a clone that is made for it, and in a clone that waits; from
 * the request to the result, and to an agent that answers, in one run, in turns. Proportional memory of clones that live at
 * once, how many fit below a bound, and the time from a result until nothing is left of its machine.
 *
 * Images come from the cache of the tests, and are built if they are not there (some minutes).
 *
 *     node bench/microvm.ts [--rounds 20] [--cold 3] [--language python] [--clones 8] [--mib 1024]
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import os from 'node:os'
import { parseArgs } from 'node:util'
import { figures } from '../src/lib/measure.ts'
import { isAlive, proportionalBytes } from '../src/os/proc.ts'
import { claimAgent } from '../src/agent-wire/make-unique.ts'
import { Clones } from '../src/warden/engines/qemu/clones.ts'
import { ColdBoots } from '../src/warden/engines/qemu/cold-boot.ts'
import type {
  LiveMachine,
  MachineKey,
  MachineSource,
} from '../src/warden/engines/agent-guest/source.ts'
import type { QemuProcess } from '../src/warden/engines/qemu/process.ts'
import { machineState } from '../tests/fixtures/machine-images.ts'
import { guestHost } from '../tests/walls/qemu-here.ts'
import { runMachineJob } from './machine-job.ts'

const MIB = 2 ** 20
const MEMORY_MIB = 256
const SCRATCH_BYTES = 64 * MIB
const CLAIM_MS_MAX = 60_000
const CLONES_MAX = 80
/** Deadline for a pool to fill: each spare runs a dummy job first. */
const REHEARSE_MS = 1_000
const jobs = {
  python: 'def main(input): return input["a"] + 1',
  node: 'export default (input) => input.a + 1',
} as const

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    cold: { type: 'string', default: '3' },
    language: { type: 'string', default: 'python' },
    clones: { type: 'string', default: '8' },
    mib: { type: 'string', default: '1024' },
  },
})
const count = (text: string, max: number) => Math.min(max, Math.max(1, Number(text) || 1))
const language = flags.language === 'node' ? 'node' : 'python'
const key: MachineKey = {
  program: language,
  isWarm: true,
  memoryMiB: MEMORY_MIB,
  scratchBytes: SCRATCH_BYTES,
}
const sampled = ['boot', 'bootReady', 'clone', 'cloneReady', 'claim', 'claimAlone', 'end'] as const
/** End of the machine before. */
let ending: Promise<void> = Promise.resolve()
const found = await machineState()
if ('missing' in found) throw new Error(`Cannot measure machines: ${found.missing}`)
const host = guestHost()
const cold = new ColdBoots({ host, options: {}, state: () => Promise.resolve(found.state) })
const clones = new Clones({ cold, host, options: {}, note: (cause) => console.error(cause) })
try {
  console.log(JSON.stringify(await measure(), undefined, 2))
} finally {
  await clones.close()
  await cold.close()
}
assert.equal(host.leases.size, 0)

async function measure() {
  const { accelerator, version, withoutKvm } = await cold.accelerator()
  const template = await timedOf(() => takeAndEnd(clones))
  const samples = await inTurns(count(flags.rounds, 1_000), count(flags.cold, 100))
  const { boot, clone, claim, claimAlone, bootReady, cloneReady, end } = Object.fromEntries(
    Object.entries(samples).map(([name, times]) => [name, figures(times)]),
  ) as Record<keyof Samples, ReturnType<typeof figures>>
  const ratio = (slow: { readonly p50: number }, of: { readonly p50: number }) =>
    Math.round(slow.p50 / of.p50)
  return {
    machine: { cores: os.availableParallelism(), accelerator, version, withoutKvm, language },
    firstCloneWithItsTemplateMs: Math.round(template),
    requestToResult: { boot, clone, claimOfAWaitingClone: claim },
    requestToReady: { boot: bootReady, clone: cloneReady },
    claimAlone,
    timesFaster: {
      cloneReady: ratio(bootReady, cloneReady),
      cloneToResult: ratio(boot, clone),
      waitingClaimToResult: ratio(boot, claim),
    },
    resultUntilNothingIsLeft: end,
    memory: await memoryOf(count(flags.clones, CLONES_MAX), count(flags.mib, 4_096)),
  }
}

type Samples = Record<(typeof sampled)[number], number[]>

/** Boots are spread over the rounds, so that other load on the machine affects all alike. */
async function inTurns(rounds: number, boots: number): Promise<Samples> {
  const samples = Object.fromEntries(sampled.map((name) => [name, []])) as unknown as Samples
  const every = Math.ceil(rounds / boots)
  for (let round = 0; round < rounds; round++) {
    if (round % every === 0)
      samples.boot.push(await timedOf(() => oneJob(cold, samples, 'bootReady')))
    samples.clone.push(await timedOf(() => oneJob(clones, samples, 'cloneReady')))
    const waiting = await clones.take(key)
    await new Promise((resolve) => setTimeout(resolve, REHEARSE_MS))
    samples.claim.push(await timedOf(() => claimAndRun(waiting, samples)))
    await end(waiting, samples)
  }
  return samples
}

/** Excludes the end of its machine from the time, and waits for it before the next measurement. */
async function oneJob(
  source: MachineSource<QemuProcess>,
  samples: Samples,
  ready: 'bootReady' | 'cloneReady',
): Promise<void> {
  const began = performance.now()
  const machine = await source.take(key)
  samples[ready].push(performance.now() - began)
  await claimAndRun(machine, samples)
  ending = end(machine, samples)
}

async function claimAndRun(machine: LiveMachine, samples: Samples): Promise<void> {
  const began = performance.now()
  const claim = { id: 'job', hostname: 'clone', limits: {}, labels: {} }
  await claimAgent(machine.agent, claim, CLAIM_MS_MAX)
  samples.claimAlone.push(performance.now() - began)
  const result = await runMachineJob(machine.takeJobChannel(), language, jobs[language], { a: 41 })
  assert.equal(result.trim(), '42')
}

async function end(machine: LiveMachine<QemuProcess>, samples: Samples): Promise<void> {
  const began = performance.now()
  await machine.release()
  samples.end.push(performance.now() - began)
  const { process } = machine
  assert.ok(!existsSync(process.folder))
  assert.ok(!process.processes.some(({ pid, startTime }) => isAlive(pid, startTime)))
}

async function takeAndEnd(source: MachineSource<QemuProcess>): Promise<void> {
  await (await source.take(key)).release()
}

async function timedOf(work: () => Promise<void>): Promise<number> {
  await ending
  const began = performance.now()
  await work()
  const took = performance.now() - began
  await ending
  return took
}

/** Waiting clones; then as many as keep within `mibMax`, 80 at most. PSS of bubblewrap's two processes and of QEMU, by the kernel. */
async function memoryOf(first: number, mibMax: number) {
  const live: LiveMachine<QemuProcess>[] = []
  const mib = () => {
    const bytes = live.map(({ process }) =>
      process.processes.reduce((sum, { pid }) => sum + (proportionalBytes(pid) ?? 0), 0),
    )
    return bytes.reduce((sum, one) => sum + one, 0) / MIB
  }
  try {
    while (live.length < first) live.push(await clones.take(key))
    const each = Math.round(mib() / live.length)
    while (live.length < CLONES_MAX && mib() + each < mibMax) live.push(await clones.take(key))
    return {
      method: 'Pss of /proc/PID/smaps_rollup, of QEMU and of its jail',
      [`mibEachOf${first}`]: each,
      clonesWithin: { mib: mibMax, clones: live.length, mibEach: Math.round(mib() / live.length) },
    }
  } finally {
    await Promise.all(live.map((machine) => machine.release()))
  }
}
