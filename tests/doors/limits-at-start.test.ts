import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Mayfly, type JobRequest, type Outcome } from '../../src/index.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { makePlace } from './program.ts'

/**
 * Race of a job's first statement against its limits: a sandbox is prepared with other limits and gets those of its job at
 * the claim. Each program uses up one limit before it does anything else, which must take it as far as after a pause.
 */
const walls = ['bubblewrap', 'embedded', 'gvisor', 'user-mode-linux', 'qemu'] as const
const limits = [
  { processes: 4, disk: '2MB' },
  { processes: 6, disk: '3MB' },
  { processes: 9, disk: '4MB' },
  { processes: 13, disk: '5MB' },
] as const
const pause = 'import time; time.sleep(0.5)\n'

/** Forks until it is refused or ended, with a dot for each. */
const forks = `import os
read, write = os.pipe()
try:
    for count in range(60):
        if os.fork() == 0:
            os.read(read, 1)
            os._exit(0)
        os.write(1, b'.')
except OSError: pass
os.write(write, b'x' * count)`

/** Fills the disk until it is refused or ended, with a dot for each 64 KiB. */
const fills = `import os
fd = os.open('filler', os.O_CREAT | os.O_WRONLY)
try:
    while os.write(fd, b'x' * 65536) == 65536: os.write(1, b'.')
except OSError: pass`

/** Takes memory until it is ended, with a dot for each MiB. */
const takes = `import os
held = []
for count in range(600):
    held.append(b'x' * 2**20)
    os.write(1, b'.')`
const memories = [40, 140, 240, 340] as const
/**
 * The limit is above the idle size, of which the kernel takes back the pages of files: those of a sentry, or of the first Python. A
 * wall without a memory cgroup is sampled, and ends some MiB later.
 */
const overshootMiB = 90

/** Burns CPU time for 0.4 s; its result is the seconds that passed, and the seconds it got. */
const burns = `import time
used, began = time.process_time(), time.monotonic()
while time.monotonic() - began < 0.4: pass
result = [time.monotonic() - began, time.process_time() - used]`
const cores = [0.05, 0.1, 0.15, 0.2] as const
/** A quota is for a period of 0.1 s, and one period may end and another begin within the time. */
const periodS = 0.1

/** Asks each address, and returns the answers; null for one that it does not reach. */
const asks = `import os, urllib.request
for name in ('no_proxy', 'NO_PROXY'): os.environ.pop(name, None)
def ask(url):
    try: return urllib.request.urlopen(url, timeout=60).read().decode()
    except OSError: return None
result = [ask(url) for url in input]`

/** Servers on loopback, each of which answers with its number. */
async function openServers(count: number) {
  const servers = Array.from({ length: count }, (_none, at) =>
    createServer((_request, response) => void response.end(String(at))).listen(0, '127.0.0.1'),
  )
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const origins = servers.map(
    (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  )
  return { origins, close: () => servers.forEach((server) => server.close()) }
}

suite('S1-14: limits are in force before the first statement', { timeout: 1_800_000 }, () => {
  const place = makePlace()
  const state = join(place.state, 'library')
  let available: readonly string[]
  let mayfly: Mayfly
  let servers: Awaited<ReturnType<typeof openServers>>
  before(async () => {
    await copyMachineState(state)
    servers = await openServers(2)
    const allow = servers.origins.map((host) => ({ host, private: true }))
    // Sixteen machines under emulation, on a busy machine.
    mayfly = await Mayfly.open({
      state,
      server: { queue_wait: '30m' },
      ceilings: { network: { allow } },
    })
    available = (await mayfly.providers())
      .filter(({ availability }) => availability.available)
      .map(({ provider }) => provider.name)
  })
  after(async () => {
    await mayfly.close()
    servers.close()
    place.remove()
  })

  for (const provider of walls)
    test(`${provider}: jobs that start at once reach their own limits of processes and disk, and no more than after a pause`, async (t) => {
      if (!available.includes(provider)) return t.skip(`${provider} is not available`)
      const run = async (code: string, own: object) => {
        const asked = { memory: '256MB', timeout: '120s', ...own }
        const outcome = await mayfly.run({ code, language: 'python', provider, limits: asked })
        assert.match(outcome.stdout, /^\.+$/, JSON.stringify(outcome.error))
        return outcome
      }
      const bothOf = async ({ processes, disk }: (typeof limits)[number], before = '') => {
        const ran = [run(before + forks, { processes }), run(before + fills, { disk })]
        const [forked, filled] = (await Promise.all(ran)) as [Outcome, Outcome]
        // Tasks behind gVisor are watched: a job above its limit is ended, some forks later.
        const forksOf = provider === 'gvisor' ? forked.error?.code : forked.stdout.length
        return [forksOf, filled.stdout.length] as const
      }
      const alone: (readonly [string | number | undefined, number])[] = []
      for (const own of limits) alone.push(await bothOf(own, pause))
      const [most] = alone.at(-1)!
      assert.ok(provider === 'gvisor' ? most === 'PROCESSES' : most! > alone[0]![0]!)
      assert.ok(alone.at(-1)![1] > alone[0]![1])
      const reached = await Promise.all([...limits, ...limits].map((own) => bothOf(own)))
      assert.deepEqual(reached, [...alone, ...alone])
    })

  // The memory of a guest with a kernel of its own is sampled, which under emulation is 100 MiB late, at a start or not.
  for (const provider of ['bubblewrap', 'embedded', 'gvisor'] as const)
    test(`${provider}: jobs that start at once are ended at their own limit of memory, as after a pause`, async (t) => {
      if (!available.includes(provider)) return t.skip(`${provider} is not available`)
      const takenBy = async (memory: number, before = '') => {
        const asked = { memory: `${memory}MB`, timeout: '120s' }
        const code = before + takes
        const outcome = await mayfly.run({ code, language: 'python', provider, limits: asked })
        assert.equal(outcome.error?.code, 'MEMORY', JSON.stringify(outcome.error))
        return outcome.stdout.length
      }
      const alone: number[] = []
      for (const memory of memories) alone.push(await takenBy(memory, pause))
      const reached = await Promise.all([...memories, ...memories].map((own) => takenBy(own)))
      for (const [at, taken] of [...alone, ...reached].entries()) {
        const [limit, lower = 0] = [memories[at % 4]!, memories[(at % 4) - 1]]
        const about = `${taken} MiB of ${limit}: ${alone.join()}, ${reached.join()}`
        assert.ok(taken > lower && taken <= limit + overshootMiB, about)
      }
    })

  // A guest's kernel counts the time of its virtual processor, which goes on while that is throttled.
  for (const provider of ['bubblewrap', 'embedded'] as const)
    test(`${provider}: jobs that start at once get no more CPU time than their own share from the first statement on`, async (t) => {
      if (!available.includes(provider)) return t.skip(`${provider} is not available`)
      const shareOf = async (cpu: number) => {
        const asked = { cpu, timeout: '120s' }
        const job = { code: burns, language: 'python', provider, limits: asked } as const
        const { result, enforced, error } = await mayfly.run(job)
        const [passed, used] = result as [number, number]
        assert.ok(used > 0, JSON.stringify(error))
        return { cpu, passed, used, isExact: enforced?.['cpu'] === 'cgroup' }
      }
      const all = await Promise.all([...cores, ...cores].map(shareOf))
      if (!all.every(({ isExact }) => isExact)) return t.skip('the CPU limit has no kernel quota')
      for (const { cpu, passed, used } of all)
        assert.ok(used <= cpu * (passed + 2 * periodS), `${used} s of ${passed} at ${cpu} cores`)
    })

  for (const provider of walls)
    test(`${provider}: jobs that start at once reach the hosts of their own network, and no other`, async (t) => {
      if (!available.includes(provider)) return t.skip(`${provider} is not available`)
      const { origins } = servers
      const answersTo = async (allow: readonly string[]) => {
        const network = allow.length > 0 ? { allow } : 'none'
        const limits = { memory: '256MB', timeout: '120s' }
        const job = { code: asks, language: 'python', provider, input: origins, network, limits }
        const { result, error } = await mayfly.run(job as JobRequest)
        assert.ok(Array.isArray(result), JSON.stringify(error))
        return result as readonly (string | null)[]
      }
      const networks = [origins.slice(0, 1), [], origins.slice(1), origins]
      const reached = await Promise.all([...networks, ...networks].map(answersTo))
      const own = [
        ['0', null],
        [null, null],
        [null, '1'],
        ['0', '1'],
      ]
      assert.deepEqual(reached, [...own, ...own])
    })
})
