/**
 * Guests of user-mode kernels: a job in one that is booted for it and in one that waits, from the request to the result; the
 * time from a result until nothing is left; memory of a parked one; a loop of Node and a cheap system call of it beside the same
 * Node on this machine, in turns in one run.
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
import { claimAgent } from '../src/warden/engines/agent-guest/agent-questions.ts'
import type { MachineKey } from '../src/warden/engines/agent-guest/source.ts'
import { UserKernelBoots } from '../src/warden/engines/user-mode-linux/boots.ts'
import { machineState } from '../tests/fixtures/machine-images.ts'
import { kernelHost } from '../tests/walls/user-kernel-here.ts'
import { runMachineJob } from './machine-job.ts'

const CLAIM_MS_MAX = 60_000
const MEMORY_MIB = 1_024
const SCRATCH_BYTES = 64 * 2 ** 20
const jobs = {
  python: 'def main(input): return input["a"] + 1',
  node: 'export default (input) => input.a + 1',
} as const
/** Milliseconds of a loop, and microseconds of a system call that no library answers. */
const work = `let t = performance.now(), x = 0
for (let i = 0; i < 2e8; i++) x = (x + i * i) | 0
const loopMs = performance.now() - t
t = performance.now()
for (let i = 0; i < 5000; i++) process.ppid
const result = [loopMs, (performance.now() - t) / 5]`

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
const host = kernelHost()
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
  const ratios = await workRatios(Math.min(5, rounds))
  return {
    machine: { cores: os.availableParallelism(), version, language, load: os.loadavg()[0] },
    bootToResult: figures(samples.boot),
    claimOfAWaitingGuestToResult: figures(samples.claim),
    claimAlone: figures(samples.claimAlone),
    resultUntilNothingIsLeft: figures(samples.end),
    parkedMiB: figures(samples.mib),
    ...ratios,
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

/** The same work here and in a guest, in turns. */
async function workRatios(turns: number) {
  const [here, inside] = [[], []] as [number[][], number[][]]
  for (let turn = 0; turn < turns; turn++) {
    const own = spawnSync(process.execPath, ['-e', `${work}; console.log(JSON.stringify(result))`])
    here.push(JSON.parse(own.stdout.toString()) as number[])
    const guest = await source.take(keyOf('node'))
    await claimAgent(
      guest.agent,
      { id: 'job', hostname: 'g', limits: {}, labels: {} },
      CLAIM_MS_MAX,
    )
    const code = `export default () => { ${work}; return result }`
    inside.push(
      JSON.parse(await runMachineJob(guest.takeJobChannel(), 'node', code, null)) as number[],
    )
    await guest.release()
  }
  const middle = (of: number[][], at: number) => figures(of.map((one) => one[at]!)).p50
  return {
    loop: {
      hereMs: middle(here, 0),
      insideMs: middle(inside, 0),
      ratio: middle(inside, 0) / middle(here, 0),
    },
    systemCall: { hereUs: middle(here, 1), insideUs: middle(inside, 1) },
  }
}

function keyOf(program: MachineKey['program']): MachineKey {
  return { program, isWarm: true, memoryMiB: MEMORY_MIB, scratchBytes: SCRATCH_BYTES }
}
