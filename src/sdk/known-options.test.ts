import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CapabilityRegistry } from './capability-registry.ts'
import { Mayfly } from './mayfly.ts'
import { SandboxThreatDetector } from './threat-detector.ts'

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

test('A sink that is no function is an error of the open', async () => {
  const wrong = [{ emit: () => undefined }, () => undefined, 'sink', [{}], [undefined], null]
  for (const sinks of wrong)
    await assert.rejects(Mayfly.open({}, { sinks } as object), unknown('sinks'))
})
