import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CapabilityRegistry } from './capability-registry.ts'
import { createProvider } from './create-provider.ts'
import { sandboxSession } from './frameworks/ai.ts'
import { executor } from './frameworks/codemode.ts'
import { Mayfly } from './mayfly.ts'
import { SecureSandbox } from './secure-sandbox.ts'
import { SandboxThreatDetector } from './threat-detector.ts'
import { VM } from './vm.ts'

const unknown = (option: string) => ({ code: 'INVALID', details: { path: option } })

test('A misspelt option of a detector, its analysis, a registry or an instance is an error that names it', async () => {
  const misspelt = { blockTreshold: 40 } as object
  assert.throws(() => new SandboxThreatDetector(misspelt), unknown('blockTreshold'))
  assert.throws(() => new CapabilityRegistry({ tennant: 'acme' } as object), unknown('tennant'))
  await assert.rejects(Mayfly.open({}, { sink: [] } as object), unknown('sink'))
  const detector = new SandboxThreatDetector()
  const unsigned = { signatur: 'AAAA' } as object
  await assert.rejects(detector.analyzeCode('return 1', unsigned), unknown('signatur'))
})

test('A misspelt option of a VM, an effect, a capability call, a provider or an adapter is an error that names it', async () => {
  assert.throws(() => new VM({ timout: 1 } as object), unknown('timout'))
  const effect = new SecureSandbox().registerEffect('a', 'return 1', { lang: 'ts' } as object)
  await assert.rejects(effect, unknown('lang'))
  const registry = new CapabilityRegistry()
  registry.setMicroVMProvider('mock')
  const misspelt = { sgnal: AbortSignal.abort() } as object
  for (const call of ['executeCapabilityWithMicroVM', 'execute'] as const)
    await assert.rejects(registry[call]('math.add', [1, 2], misspelt), unknown('sgnal'))
  const run = () => Promise.resolve({})
  const parts = { name: 'a', tier: 'none', languages: ['sh'], enforce: ['network'], run } as const
  assert.throws(() => createProvider(parts), unknown('enforce'))
  const slow = { time_out: '1s' } as object
  assert.throws(
    () => executor({ run: () => Promise.reject(new Error()) }, slow),
    unknown('time_out'),
  )
  assert.throws(() => sandboxSession({} as never, slow), unknown('time_out'))
})

test('An effect in another language than js and ts is refused', async () => {
  const effect = new SecureSandbox().registerEffect('a', '1', { language: 'python' as 'js' })
  await assert.rejects(effect, { code: 'INVALID', message: /"js" or "ts"/ })
})

test('A field of a capability, an option of its call, and arguments that are no list are errors', async () => {
  const registry = new CapabilityRegistry()
  const entry = {
    name: 'own',
    isolated: true,
    code: 'return 1',
    limit: { memory: '16MB' },
  } as const
  assert.throws(() => registry.register(entry), unknown('limit'))
  assert.ok(registry.list().every(({ name }) => name !== 'own'))
  const misspelt = { signl: AbortSignal.abort() } as object
  await assert.rejects(registry.execute('math.add', [1], misspelt), unknown('signl'))
  for (const args of [5, null, {}, 'ab'])
    for (const call of [
      registry.execute('math.add', args as never),
      registry.executeCapabilityWithMicroVM('math.add', args as never),
    ])
      await assert.rejects(call, { code: 'INVALID', message: /expected a list of arguments/ })
})

test('A sink that is no function, and a provider that is none, is an error of the open', async () => {
  const wrong = [{ emit: () => undefined }, () => undefined, 'sink', [{}], [undefined], null]
  for (const sinks of wrong)
    await assert.rejects(Mayfly.open({}, { sinks } as object), unknown('sinks'))
  for (const providers of ['./wall.js', [5], [''], [{}], [{ detect: () => undefined }], null])
    await assert.rejects(Mayfly.open({}, { providers } as object), unknown('providers'))
})

test('A function or a symbol within a global of a VM, and a circle, are refused with the name of the global', () => {
  const circle: { self?: unknown } = {}
  circle.self = circle
  for (const value of [() => 1, Symbol('a'), { log: () => 1 }, [[Symbol('a')]], circle, 1n])
    assert.throws(() => new VM({ sandbox: { tool: value } }), {
      code: 'INVALID',
      message: /^Cannot use the global "tool": /,
      details: { path: 'sandbox.tool' },
    })
  for (const sandbox of [5, 'a', null, [1]])
    assert.throws(() => new VM({ sandbox } as object), unknown('sandbox'))
})
