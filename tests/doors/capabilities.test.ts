import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test as always, type TestContext } from 'node:test'
import { assemble, type Assembly } from '../../src/assemble/assemble.ts'
import { loadConfig } from '../../src/config/load.ts'
import {
  CapabilityRegistry,
  Mayfly,
  type Event,
  type ExecutionContext,
  type MicroVMProvider,
  type Outcome,
} from '../../src/index.ts'
import type { ConfigInput } from '../../src/contract/config.ts'
import { adapt } from '../../src/sdk/microvm-provider.ts'
import { startWarden } from '../../src/sdk/start-warden.ts'
import { test } from '../fixtures/drawn.ts'
import { openWorld, type World } from '../fixtures/egress.ts'
import { bearer, call, openDoor, post, type TestDoor } from './http-door.ts'

const place = mkdtempSync(join(tmpdir(), 'mayfly-capabilities-'))
const http = 'ccos.network.http-fetch'
/** The documented configuration file, unchanged. */
const seed = `
default_provider = "mock"

[capability_configs."ccos.network.http-fetch"]
timeout = "30s"
memory_limit_mb = 64
cpu_limit = 0.3
network_policy = { AllowList = ["api.github.com", "httpbin.org"] }
fs_policy = "None"
`
after(() => rmSync(place, { recursive: true, force: true }))

function because({ profile }: Outcome, field: string): string | undefined {
  return profile.explain.find((one) => one.field === field)?.because
}

const filled =
  'const all = []; for (let i = 0; i < input[0]; i++) all.push(new Uint8Array(2 ** 20).fill(i)); return all.length'
/** Long enough that one period of the CFS quota, and saved-up bandwidth, are small beside it. */
const burning = 'const until = Date.now() + 4000; while (Date.now() < until); return 1'
/** Tolerance above the limit of a CPU share; load of other work lowers the share, and never raises it. */
const shareFactorMax = 1.2
/** Retries: without a quota in a control group, a watch that gets its turn late lets more pass, once. */
const sharesMax = 3

async function assertShare(t: TestContext, cores: number, run: () => Promise<Outcome>) {
  const shares: number[] = []
  const isWithin = () => shares.at(-1)! <= cores * shareFactorMax
  do {
    const { status, metrics, error } = await run()
    assert.equal(status, 'ok', JSON.stringify(error))
    assert.ok(metrics.executionTime >= 3900, `${metrics.executionTime} ms`)
    shares.push(metrics.cpuTime / metrics.executionTime)
  } while (!isWithin() && shares.length < sharesMax)
  t.diagnostic(`it had ${shares.map((one) => one.toFixed(3)).join()} of a core, of ${cores}`)
  assert.ok(isWithin(), `${shares.join()} of a core`)
  assert.ok(shares.every((share) => share > 0))
}

suite('The documented configuration, in force', () => {
  const file = join(place, 'microvm.toml')
  writeFileSync(file, `state = ${JSON.stringify(join(place, 'seed'))}\n${seed}`)
  let registry: CapabilityRegistry

  before(() => {
    registry = new CapabilityRegistry({ config: file })
    registry.setMicroVMProvider('process')
  })
  after(() => registry.close())

  /** Runs the given code under the documented name, in a real wall. */
  const run = (
    code: string,
    args: readonly unknown[] = [],
    entry: 'auto' | 'handler' = 'auto',
  ): Promise<Outcome> => {
    registry.register({ name: http, isolated: true, language: 'js', entry, code })
    return registry.execute(http, args)
  }

  test('S4-37: a capability may run for thirty seconds, and can read the time it has left', async () => {
    const left = 'exports.handler = async (_, context) => context.getRemainingTimeInMillis()'
    const outcome = await run(left, [], 'handler')
    assert.equal(outcome.tier, 'process', JSON.stringify(outcome.error))
    assert.ok((outcome.result as number) <= 30_000 && (outcome.result as number) > 20_000)
    assert.equal(because(outcome, 'limits.timeout'), `capability_configs.${http}.timeout`)
  })

  test('S4-37: its memory limit is 64 MB', async () => {
    const fits = await run(filled, [16])
    assert.deepEqual([fits.result, fits.status], [16, 'ok'])
    assert.equal(because(fits, 'limits.memory'), `capability_configs.${http}.memory_limit_mb`)
    const { status, error, tier } = await run(filled, [200])
    assert.deepEqual([status, error?.code, tier], ['limit', 'MEMORY', 'process'])
  })

  test('S4-37: its CPU limit is three tenths of a core', async (t) => {
    await assertShare(t, 0.3, async () => {
      const outcome = await run(burning)
      assert.equal(outcome.tier, 'process')
      return outcome
    })
  })

  test('S4-37: the two documented hosts are allowed, and a third host and another port are denied', async () => {
    const ask = 'try { await fetch(input[0]) } catch {}'
    const asked = async (url: string) => (await run(ask, [url])).metrics.network[0]
    assert.equal((await asked('https://api.github.com/'))?.verdict, 'allowed')
    assert.equal((await asked('http://httpbin.org/'))?.verdict, 'allowed')
    assert.equal((await asked('https://example.com/'))?.verdict, 'denied')
    assert.equal((await asked('https://api.github.com:8443/'))?.verdict, 'denied')
  })

  test('S4-37: a list of the root folder is refused, as no folder is granted', async () => {
    const { status, error } = await run(`return call('mayfly.files', { verb: 'list', path: '/' })`)
    assert.equal(status, 'error')
    assert.match(error?.message ?? '', /not granted/)
  })

  test('S4-36: the documented example runs, and its program ends', () => {
    const index = new URL('../../src/index.ts', import.meta.url).href
    const program = join(place, 'example.ts')
    writeFileSync(
      program,
      `import { CapabilityRegistry } from ${JSON.stringify(index)}
      const registry = new CapabilityRegistry()
      registry.setMicroVMProvider('mock')

      // This will execute in a MicroVM automatically
      const result = await registry.executeCapabilityWithMicroVM(
        'ccos.network.http-fetch',
        ['https://api.example.com'],
      )
      console.log(JSON.stringify(result))`,
    )
    const env = { ...process.env, MAYFLY_CONFIG: file }
    const options = { cwd: place, env, encoding: 'utf8', timeout: 60_000 } as const
    const { status, stdout, stderr } = spawnSync(process.execPath, [program], options)
    assert.deepEqual(
      [status, stdout, stderr],
      [0, '{"mock":true,"echo":["https://api.example.com"]}\n', ''],
    )
    // Without that file it fails: the configuration is read.
    const without = { ...options, env: { ...env, MAYFLY_CONFIG: join(place, 'gone.toml') } }
    assert.equal(spawnSync(process.execPath, [program], without).status, 1)
  })
})

const folder = join(place, 'data')
const said: Event[] = []
let shared: Mayfly

before(async () => {
  mkdirSync(folder)
  writeFileSync(join(folder, 'in.txt'), 'here')
  const config: ConfigInput = {
    state: join(place, 'shared'),
    ceilings: { memory: '256MB' },
    tenants: [{ name: 'strict', floor: 'process' }],
    capability_configs: {
      brief: { timeout: '200ms', network_policy: 'None', fs_policy: 'None' },
      small: { memory_limit_mb: 16 },
      large: { memory_limit_mb: 128, network_policy: { DenyList: ['evil.example'] } },
      slow: { cpu_limit: 0.2, timeout: '30s' },
      many: { cpu_limit: 0.3, timeout: '30s' },
      greedy: { memory_limit_mb: 4096 },
      reader: { fs_policy: { ReadOnly: [folder] } },
      program: { fs_policy: { ReadWrite: [folder] } },
      configured: { timeout: '30s', memory_limit_mb: 64, cpu_limit: 0.3 },
      'ccos.io.read-file': { fs_policy: { ReadOnly: [folder] } },
      'ccos.io.write-file': { fs_policy: { ReadWrite: [folder] }, cpu_limit: 0.5 },
    },
  }
  shared = await Mayfly.open(config, { sinks: [(event) => void said.push(event)] })
})
after(() => shared.close())

/** Retries: a stall of the machine does not repeat each time. */
const triesMax = 3

suite('Each capability has its own limits', () => {
  let registry: CapabilityRegistry

  before(() => {
    registry = new CapabilityRegistry({ mayfly: shared })
    for (const name of ['small', 'large', 'greedy'])
      registry.register({ name, isolated: true, language: 'js', code: filled })
    registry.register({ name: 'brief', isolated: true, language: 'js', code: 'for (;;);' })
    registry.register({ name: 'slow', isolated: true, language: 'js', code: burning })
    const code = `import os, resource, time
until = time.monotonic() + 4
def burn():
    while time.monotonic() < until: pass
pids = []
for _ in range(2):
    pids.append(os.fork())
    if pids[-1] == 0:
        burn()
        os._exit(0)
burn()
for pid in pids: os.waitpid(pid, 0)
all = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
result = [1000 * (one.ru_utime + one.ru_stime) for one in all]`
    registry.register({ name: 'many', isolated: true, language: 'python', code })
    const write = `return call('mayfly.files', { verb: 'write', path: input[0], content: 'x' })`
    registry.register({ name: 'reader', isolated: true, language: 'js', code: write })
    const python = 'result = open("/etc/hostname").read()'
    registry.register({ name: 'program', isolated: true, language: 'python', code: python })
  })

  test('S4-7: a capability that exceeds its time limit is ended', async () => {
    const took: number[] = []
    const isInTime = (ms: number) => ms >= 100 && ms < 2000
    do {
      const { status, metrics } = await registry.execute('brief')
      assert.equal(status, 'timeout')
      took.push(metrics.executionTime)
      // Execution time is counted inside the wall, and reported from when the release message arrived, which may be late, once.
      // Without the limit of 200 ms it would end at the default of 5 s.
    } while (!isInTime(took.at(-1)!) && took.length < triesMax)
    assert.ok(isInTime(took.at(-1)!), `${took.join()} ms`)
  })

  test('S4-6: the same code at the same time, with two names, has two limits', async () => {
    const [small, large] = await Promise.all([
      registry.execute('small', [60]),
      registry.execute('large', [60]),
    ])
    assert.deepEqual([small.status, small.error?.code], ['limit', 'MEMORY'])
    assert.deepEqual([large.status, large.result], ['ok', 60])
    assert.equal(because(large, 'limits.memory'), 'capability_configs.large.memory_limit_mb')
  })

  test('S4-10: a limit below one core selects a wall that enforces it', async (t) => {
    await assertShare(t, 0.2, async () => {
      const outcome = await registry.execute('slow')
      assert.equal(outcome.tier, 'process')
      return outcome
    })
  })

  test('S4-10: the processes of a capability share its limit of less than a core', async (t) => {
    await assertShare(t, 0.3, async () => {
      const outcome = await registry.execute('many')
      if (outcome.status !== 'ok') return outcome
      const [own, ofChildren] = outcome.result as readonly [number, number]
      assert.ok(ofChildren > own / 2, `${own}, ${ofChildren} ms`)
      const { cpuTime } = outcome.metrics
      assert.ok(cpuTime > (own + ofChildren) / 2, `${cpuTime} of ${own} and ${ofChildren} ms`)
      return outcome
    })
  })

  test('A capability gets no more than the ceilings allow', async () => {
    const outcome = await registry.execute('greedy', [1])
    assert.equal(because(outcome, 'limits.memory'), 'ceilings.memory')
  })

  test('S4-9: files are read and written in the granted folder, and nowhere else', async () => {
    const read = (path: string) => registry.execute('ccos.io.read-file', [path])
    const write = (path: string) => registry.execute('ccos.io.write-file', [path, 'written'])
    assert.equal((await read(join(folder, 'in.txt'))).result, 'here')
    assert.equal((await write(join(folder, 'out.txt'))).result, 7)
    assert.equal(readFileSync(join(folder, 'out.txt'), 'utf8'), 'written')
    writeFileSync(join(place, 'beside.txt'), 'beside')
    for (const outcome of [
      await read('/etc/passwd'),
      await read(join(place, 'beside.txt')),
      await write(join(place, 'out.txt')),
      await registry.execute('reader', [join(folder, 'in.txt')]),
    ]) {
      assert.equal(outcome.status, 'error')
      assert.match(outcome.error?.message ?? '', /no such folder is granted/)
    }
    assert.equal(readFileSync(join(folder, 'in.txt'), 'utf8'), 'here')
    assert.equal(existsSync(join(place, 'out.txt')), false)
    const { error } = await registry.execute('ccos.io.list-files', [folder])
    assert.match(error?.message ?? '', /give "ccos.io.list-files" an fs_policy/)
  })

  test('S4-12: a run calls two granted capabilities, each with its own limits, and cannot call a third', async () => {
    const [input, output] = [join(folder, 'in.txt'), join(folder, 'one-run.txt')]
    const code = `
      const said = (call) => call.catch((error) => error.message)
      return [
        await call('ccos.io.read-file', [input[0]]),
        await call('ccos.io.write-file', [input[1], 'one run']),
        await said(call('ccos.io.read-file', ['/etc/passwd'])),
        await said(call('ccos.network.http-fetch', ['https://a.example'])),
      ]`
    const capabilities = ['ccos.io.read-file', 'ccos.io.write-file'] as const
    const from = said.length
    const outcome = await shared.run({
      code,
      capabilities: [...capabilities],
      limits: { timeout: '30s' },
      input: [input, output],
    })
    assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error))
    const [read, wrote, outside, third] = outcome.result as readonly string[]
    assert.deepEqual([read, wrote], ['here', 7])
    assert.match(outside ?? '', /no such folder is granted/)
    assert.match(third ?? '', /was not granted that capability/)
    assert.equal(readFileSync(output, 'utf8'), 'one run')
    const { called } = outcome.metrics
    assert.equal(called?.jobs, 3)
    assert.ok((called?.cpuTime ?? 0) > 0)
    // Each call was a job of its own; the one with less than a core ran in a wall that enforces it.
    const walls = said.slice(from).filter(({ point }) => point === 'job/ended')
    assert.deepEqual(
      walls.map(({ fields }) => fields['tier']),
      ['isolate', 'process', 'isolate', 'isolate'],
    )
  })

  test('S4-9: a folder that no wall can grant to a program is an error with a hint', async () => {
    const { status, error } = await registry.execute('program')
    assert.deepEqual([status, error?.code], ['unavailable', 'UNAVAILABLE'])
    assert.match(error?.message ?? '', /can provide folders of this machine to programs/)
    assert.match(JSON.stringify(error?.details), /hand the files over/)
  })
})

suite('The entry of a capability declares whether it is isolated', () => {
  test('S4-31: a capability that only computes has no sandbox, and needs no valid configuration', async () => {
    await using registry = new CapabilityRegistry({ config: join(place, 'is-not-there.toml') })
    assert.equal(await registry.executeCapabilityWithMicroVM('math.add', [1, 2]), 3)
    const { tier, provider, result, evidence } = await registry.execute('math.add', [1, 2])
    assert.deepEqual([tier, provider, result, evidence.audit], ['none', 'in-process', 3, null])
    await assert.rejects(registry.execute(http, ['https://a.example']), { code: 'CONFIG' })
  })

  test('S4-5, S4-30: the entry of a capability alone decides whether the same call is isolated', async () => {
    const registry = new CapabilityRegistry({ mayfly: shared })
    const calls = ['math.add', http].map((name) => registry.execute(name, [1, 2]))
    const [sum, fetched] = await Promise.all(calls)
    assert.deepEqual([sum?.tier, fetched?.tier], ['none', 'isolate'])
    assert.match(fetched?.error?.message ?? '', /network_policy in \[capability_configs\]/)
    assert.equal(typeof fetched?.evidence.audit, 'number')
  })

  test('S4-31: a capability that only computes costs less than 50 µs a call, in the fastest of twenty batches', async (t) => {
    await using registry = new CapabilityRegistry({ mayfly: shared })
    const [batches, calls] = [20, 200]
    const took: number[] = []
    let sum = 0
    for (let batch = 0; batch < batches; batch++) {
      const began = performance.now()
      for (let call = 0; call < calls; call++)
        sum += Number(await registry.executeCapabilityWithMicroVM('math.add', [1, 2]))
      took.push(((performance.now() - began) * 1000) / calls)
    }
    t.diagnostic(`${took.map((us) => us.toFixed(1)).join(' ')} µs`)
    assert.ok(Math.min(...took) < 50)
    assert.equal(sum, 3 * batches * calls)
  })

  test('S4-28: a capability declared as computing only that does more is detected, refused and recorded', async () => {
    const registry = new CapabilityRegistry({ mayfly: shared })
    let runs = 0
    registry.register({
      name: 'text.length',
      isolated: false,
      run: (path: string) => {
        runs += 1
        return readFileSync(path, 'utf8').length + (setImmediate(() => undefined) ? 0 : 1)
      },
    })
    const attempt = () =>
      registry.executeCapabilityWithMicroVM('text.length', [import.meta.filename])
    await assert.rejects(attempt(), { code: 'FORBIDDEN', message: /declared safe.*Immediate/ })
    // Only kernels with per-thread I/O accounting count reads.
    const reads = existsSync('/proc/thread-self/io') ? /declared safe.*read/ : /declared safe/
    await assert.rejects(attempt(), { code: 'FORBIDDEN', message: reads })
    assert.equal(runs, 1)
    const caught = said.filter(({ point }) => point === 'capability/misdeclared')
    assert.deepEqual(
      caught.map(({ fields }) => fields['capability']),
      ['text.length'],
    )
  })

  test('An unknown capability is NOT_FOUND, and a closed registry is CONFLICT', async () => {
    const registry = new CapabilityRegistry()
    await assert.rejects(registry.execute('no.such'), { code: 'NOT_FOUND' })
    await registry.close()
    await assert.rejects(registry.execute('math.add', [1]), { code: 'CONFLICT' })
  })
})

/** The provider as documented. */
class CustomProvider implements MicroVMProvider {
  readonly steps: string[] = []
  readonly contexts: ExecutionContext[] = []
  name(): string {
    return 'custom'
  }
  isAvailable(): boolean {
    return true
  }
  initialize(): void {
    this.steps.push('initialize')
  }
  execute(context: ExecutionContext) {
    this.steps.push('execute')
    this.contexts.push(context)
    return { value: { ran: context.capabilityId }, metadata: { memoryUsedMb: 3, cpuTime: 2 } }
  }
  cleanup(): void {
    this.steps.push('cleanup')
  }
}

suite('A custom provider', () => {
  const registryWith = (custom: MicroVMProvider) => {
    const registry = new CapabilityRegistry({ mayfly: shared })
    registry.registerProvider(custom)
    registry.register({ name: 'configured', isolated: true, language: 'js', code: 'return 1' })
    registry.setMicroVMProvider('custom')
    return registry
  }

  test('S4-38: a custom provider is initialised once, executes calls, is cleaned up, and is marked as custom', async () => {
    const custom = new CustomProvider()
    const registry = registryWith(custom)
    assert.deepEqual(await registry.executeCapabilityWithMicroVM(http, ['https://a.example']), {
      ran: http,
    })
    const outcome = await registry.execute(http, [])
    assert.deepEqual([outcome.status, outcome.provider], ['ok', 'custom:custom'])
    assert.deepEqual(new Set(Object.values(outcome.enforced ?? {})), new Set(['custom']))
    assert.equal(outcome.metrics.memoryUsage?.used, 3 * 2 ** 20)
    await registry.close()
    assert.deepEqual(custom.steps, ['initialize', 'execute', 'execute', 'cleanup'])
  })

  test('A custom provider whose first initialisation fails is initialised again by the next call', async () => {
    const custom = new CustomProvider()
    let isReady = false
    const initialize = () => {
      custom.steps.push('initialize')
      if (!isReady) throw new Error('not yet')
    }
    const registry = registryWith(Object.assign(custom, { initialize }))
    assert.equal((await registry.execute('configured')).status, 'unavailable')
    isReady = true
    assert.equal((await registry.execute('configured')).status, 'ok')
    await registry.close()
    assert.deepEqual(custom.steps, ['initialize', 'initialize', 'execute', 'cleanup'])
  })

  test('A provider whose cleanup fails does not prevent the others from being closed', async () => {
    const state = join(place, 'unclean')
    const warden = await startWarden({ stateFolder: state })
    let isClosed = false
    const close = async () => {
      await warden.close()
      isClosed = true
    }
    const { config } = loadConfig({ object: { state }, env: {}, cwd: place })
    const assembly = assemble({ config, kind: 'once', warden: { ...warden, close } })
    const cleanup = () => Promise.reject(new Error('it is stuck'))
    await assembly.add(adapt(Object.assign(new CustomProvider(), { cleanup })))
    await assert.rejects(async () => await assembly[Symbol.asyncDispose](), /it is stuck/)
    assert.ok(isClosed)
  })

  test('S4-22: its context is plain, deeply frozen data with the grants of its profile', async () => {
    const custom = new CustomProvider()
    await using registry = registryWith(custom)
    await registry.execute('configured', [{ deep: [1] }])
    const [context] = custom.contexts
    assert(context)
    assert.deepEqual(JSON.parse(JSON.stringify(context)), context)
    assert.deepEqual(context.config, {
      timeout: 30_000,
      memoryLimitMb: 64,
      cpuLimit: 0.3,
      networkPolicy: 'None',
      fsPolicy: 'None',
    })
    assert.deepEqual([context.capabilityId, context.args], ['configured', [{ deep: [1] }]])
    const isFrozen = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      (Object.isFrozen(value) && Object.values(value).every(isFrozen))
    assert.ok(isFrozen(context))
  })

  test('A custom provider is timed from outside, its exception becomes an error, and it is never a default choice', async () => {
    const stuck = {
      execute: (_: ExecutionContext, { signal }: { signal: AbortSignal }) => over(signal),
    }
    const heard: string[] = []
    const over = (signal: AbortSignal) => {
      signal.addEventListener('abort', () => heard.push('abort'))
      return new Promise<never>(() => undefined)
    }
    const rest = { isAvailable: () => true, initialize() {}, cleanup() {} }
    await using registry = new CapabilityRegistry({ mayfly: shared })
    registry.register({ name: 'brief', isolated: true, language: 'js', code: 'return 1' })
    registry.registerProvider({ name: 'stuck', ...rest, ...stuck })
    registry.registerProvider({
      name: 'torn',
      ...rest,
      execute() {
        throw new Error('torn')
      },
    })
    registry.registerProvider({ name: 'away', ...rest, ...stuck, isAvailable: () => false })
    const on = (name: string) => {
      registry.setMicroVMProvider(name)
      return registry.execute('brief')
    }
    assert.equal((await on('stuck')).status, 'timeout')
    assert.deepEqual(heard, ['abort'])
    assert.deepEqual([(await on('torn')).error?.message], ['torn'])
    assert.equal((await on('away')).status, 'unavailable')
    assert.deepEqual(
      [(await on('auto')).provider, (await on('mock')).provider],
      ['isolated-vm', 'mock'],
    )
    // A tier of a custom provider is cheaper than that of a process wall.
    registry.register({ name: 'plain', isolated: true, language: 'python', code: 'result = 1' })
    registry.setMicroVMProvider('auto')
    const { provider } = await registry.execute('plain')
    assert.doesNotMatch(String(provider), /stuck|torn|away/)
    // An unproved claim of a provider counts as the weakest strength: a floor above that needs proof.
    await using strict = new CapabilityRegistry({ mayfly: shared, tenant: 'strict' })
    strict.registerProvider({ name: 'torn', ...rest, ...stuck })
    strict.setMicroVMProvider('torn')
    assert.equal((await strict.execute(http)).error?.code, 'TIER_TOO_WEAK')
  })

  test('Invalid providers, taken names and unknown names are refused; so is the mock in production', () => {
    const registry = new CapabilityRegistry()
    const custom = new CustomProvider()
    registry.registerProvider(custom)
    assert.throws(() => registry.registerProvider(custom), { code: 'CONFLICT' })
    const named = (name: string) => Object.assign(new CustomProvider(), { name: () => name })
    assert.throws(() => registry.registerProvider(named('mock')), { code: 'CONFLICT' })
    assert.throws(() => registry.registerProvider(named('a b')), { code: 'INVALID' })
    assert.throws(() => registry.registerProvider({ name: 'x' } as never), { code: 'INVALID' })
    assert.throws(() => registry.setMicroVMProvider('nobody'), { code: 'NOT_FOUND' })
    const before = process.env['MAYFLY_ENV']
    process.env['MAYFLY_ENV'] = 'production'
    try {
      assert.throws(() => registry.setMicroVMProvider('mock'), { code: 'UNAVAILABLE' })
    } finally {
      if (before === undefined) delete process.env['MAYFLY_ENV']
      else process.env['MAYFLY_ENV'] = before
    }
  })
})

suite('Capabilities over HTTP, with hosts outside', () => {
  let world: World
  let assembly: Assembly
  let door: TestDoor

  before(async () => {
    world = await openWorld((request, response) => redirecting(request.url, response, world))
    const state = join(place, 'http')
    const allowed = `http://a.example:${world.ports.http}`
    const object = {
      state,
      capability_configs: {
        [http]: { network_policy: { AllowList: [allowed] }, timeout: '10s' },
        'own.effect': { memory_limit_mb: 32 },
      },
    }
    const { config } = loadConfig({ object, env: {}, cwd: place })
    assembly = assemble({
      config,
      warden: await startWarden({ stateFolder: state }),
      kind: 'library',
      dial: { resolver: () => Promise.resolve(['127.0.0.1']), exceptions: world.exceptions },
    })
    const { effects } = assembly
    door = await openDoor({ effects, road: (job, options) => assembly.run(job, options) })
  })
  after(async () => {
    await door[Symbol.asyncDispose]()
    await assembly[Symbol.asyncDispose]()
    await world[Symbol.asyncDispose]()
  })

  const ask = (name: string, body: unknown) =>
    post(`${door.gateway.activeUrl}/v1/capabilities/${name}`, body, bearer(door.key))

  always('S4-5: http-fetch reaches allowed hosts only, in a sandbox', async () => {
    const url = `http://a.example:${world.ports.http}/in`
    const init = { method: 'POST', body: 'hello' }
    const { status, json } = await ask(http, { args: [url, init] })
    assert.equal(status, 200)
    assert.deepEqual(
      [json['status'], json['tier']],
      ['ok', 'isolate'],
      JSON.stringify(json['error']),
    )
    assert.equal(json['result'].status, 200)
    assert.match(json['result'].body, /"line":"POST \/in".*"body":"hello"/)
    const heard = world.heard.length
    const other = await ask(http, { args: [`http://b.example:${world.ports.http}/out`] })
    assert.equal(other.json['status'], 'error')
    assert.equal(other.json['metrics'].network[0].verdict, 'denied')
    const led = await ask(http, { args: [`http://a.example:${world.ports.http}/elsewhere`] })
    assert.equal(led.json['status'], 'error')
    assert.deepEqual(
      world.heard.slice(heard).map(({ line }) => line),
      ['GET /elsewhere'],
    )
  })

  always('A capability that only computes answers with an outcome too', async () => {
    const { status, json } = await ask('math.add', { args: [1, 2, 3.5] })
    assert.deepEqual(
      [status, json['status'], json['result'], json['tier']],
      [200, 'ok', 6.5, 'none'],
    )
    const wrong = await ask('math.add', { args: [1, '2'] })
    assert.deepEqual([wrong.status, wrong.json['status']], [200, 'error'])
  })

  always('An effect can be called by its name, with the limits configured for it', async () => {
    const effect = { effectId: 'own.effect', code: 'return input.map((one) => one * 2)' }
    const url = `${door.gateway.activeUrl}/api/effects/register`
    assert.equal((await post(url, effect, bearer(door.key))).status, 200)
    const { json } = await ask('own.effect', { args: [1, 21] })
    assert.deepEqual([json['status'], json['result']], ['ok', [2, 42]])
    const row = (json['profile'].explain as { field: string; because: string }[]).find(
      ({ field }) => field === 'limits.memory',
    )
    assert.equal(row?.because, 'capability_configs.own.effect.memory_limit_mb')
    const listed = await call(`${door.gateway.activeUrl}/v1/capabilities`, {
      headers: bearer(door.key),
    })
    const isolated = new Map(
      (listed.json['items'] as { name: string; isolated: boolean }[]).map((one) => [
        one.name,
        one.isolated,
      ]),
    )
    assert.deepEqual(
      ['own.effect', http, 'math.add'].map((name) => isolated.get(name)),
      [true, true, false],
    )
  })

  always('An unknown name is 404, a wrong body 422, and a call without a key 401', async () => {
    assert.equal((await ask('no.such', { args: [] })).status, 404)
    assert.equal((await ask('math.add', { args: 1 })).status, 422)
    assert.equal((await ask('math.add', { arguments: [] })).status, 422)
    const url = `${door.gateway.activeUrl}/v1/capabilities/math.add`
    assert.equal((await post(url, { args: [1] })).status, 401)
  })

  always('A call is in the record by the name of its capability', async () => {
    const { json } = await ask(http, { args: ['http://b.example/'] })
    const audit = json['evidence'].audit as number
    const lines = [...assembly.record.store.lines(0, audit)]
    const texts = lines.filter(({ run }) => run === json['id']).map((line) => line.bodyText)
    assert.match(texts[0] ?? '', /"capability":"ccos.network.http-fetch"/)
  })
})

function redirecting(url: string | undefined, response: ServerResponse, world: World): boolean {
  if (url !== '/elsewhere') return false
  response.writeHead(302, { location: `http://b.example:${world.ports.http}/out` }).end()
  return true
}
