/**
 * Guests of user-mode kernels: a job in one that is booted for it and in one that waits, from the request to the result; the
 * time from a result until nothing is left; memory of a parked one; processor time of a loop in Node beside the same on this
 * machine, in turns in one run.
 *
 * Images come from the cache of the tests, and are built if they are not there (some minutes).
 *
 *     node bench/userkernel.ts [--rounds 20] [--language python]
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import os from 'node:os'
import { parseArgs } from 'node:util'
import { figures } from '../src/lib/measure.ts'
import { claimAgent } from '../src/agent-wire/make-unique.ts'
import type { MachineKey } from '../src/warden/engines/agent-guest/source.ts'
import { UserKernelBoots } from '../src/warden/engines/user-mode-linux/boots.ts'
import { machineState } from '../tests/fixtures/machine-images.ts'
import { guestHost } from '../tests/walls/qemu-here.ts'
import { runMachineJob } from './machine-job.ts'

const CLAIM_MS_MAX = 60_000
const MEMORY_MIB = 1_024
const SCRATCH_BYTES = 64 * 2 ** 20
const jobs = {
  python: 'def main(input): return input["a"] + 1',
  node: 'export default (input) => input.a + 1',
} as const
/** Loop that computes, in a function, so that it is compiled alike here and inside. */
const work = 'let x = 0; for (let i = 0; i < 2e8; i++) x = (x + i * i) | 0'

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    language: { type: 'string', default: 'python' },
  },
})
const rounds = Math.min(1_000, Math.max(1, Number(flags.rounds) || 1))
const language = flags.language === 'node' ? 'node' : 'python'
const found = await machineState()
if ('missing' in found) throw new Error(`Cannot measure guests: ${found.missing}`)
const host = guestHost()
const source = new UserKernelBoots({ host, options: {}, state: async () => found.state })
try {
  console.log(JSON.stringify(await measure(), undefined, 2))
} finally {
  await source.close()
}
assert.equal(host.leases.size, 0)

async function measure() {
  const { version } = await source.facts()
  const samples = { boot: [], claim: [], claimAlone: [], end: [], mib: [] } as Samples
  for (let round = 0; round < rounds; round++) await oneRound(samples)
  const loop = await loopRatio(Math.min(5, rounds))
  return {
    machine: { cores: os.availableParallelism(), version, language, load: os.loadavg()[0] },
    bootToResult: figures(samples.boot),
    claimOfAWaitingGuestToResult: figures(samples.claim),
    claimAlone: figures(samples.claimAlone),
    resultUntilNothingIsLeft: figures(samples.end),
    parkedMiB: figures(samples.mib),
    loop,
  }
}

type Samples = Record<'boot' | 'claim' | 'claimAlone' | 'end' | 'mib', number[]>

async function oneRound(samples: Samples): Promise<void> {
  const began = performance.now()
  const booted = await source.take(keyOf(language))
  await claimAndRun(booted)
  samples.boot.push(performance.now() - began)
  await booted.release()
  const waiting = await source.take(keyOf(language))
  samples.mib.push(waiting.process.memory() / 2 ** 20)
  const claimed = performance.now()
  samples.claimAlone.push(await claimAndRun(waiting))
  samples.claim.push(performance.now() - claimed)
  const ended = performance.now()
  await waiting.release()
  samples.end.push(performance.now() - ended)
}

/** Resolves with the milliseconds of the claim. */
async function claimAndRun({ agent, takeJobChannel }: Guest): Promise<number> {
  const began = performance.now()
  await claimAgent(agent, { id: 'job', hostname: 'guest', limits: {}, labels: {} }, CLAIM_MS_MAX)
  const took = performance.now() - began
  const result = await runMachineJob(takeJobChannel(), language, jobs[language], { a: 41 })
  assert.equal(result.trim(), '42')
  return took
}

type Guest = Awaited<ReturnType<UserKernelBoots['take']>>

/** Processor time of the same loop here and of a whole guest with it, in turns: time alone would tell of the load. */
async function loopRatio(turns: number) {
  const [here, inside] = [[], []] as [number[], number[]]
  for (let turn = 0; turn < turns; turn++) {
    const script = `(() => { ${work} })(); console.log(process.cpuUsage().user / 1000)`
    here.push(Number(spawnSync(process.execPath, ['-e', script]).stdout.toString()))
    const guest = await source.take(keyOf('node'))
    await claimAgent(
      guest.agent,
      { id: 'job', hostname: 'g', limits: {}, labels: {} },
      CLAIM_MS_MAX,
    )
    const before = guest.process.cgroup?.cpuMs() ?? NaN
    const code = `export default () => { ${work} }`
    await runMachineJob(guest.takeJobChannel(), 'node', code, null)
    inside.push((guest.process.cgroup?.cpuMs() ?? NaN) - before)
    await guest.release()
  }
  const [hereMs, insideMs] = [figures(here).p50, figures(inside).p50]
  return { hereMs, insideMs, ratio: insideMs / hereMs }
}

function keyOf(program: MachineKey['program']): MachineKey {
  return { program, isWarm: true, memoryMiB: MEMORY_MIB, scratchBytes: SCRATCH_BYTES }
}
