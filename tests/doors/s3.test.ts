import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test as always } from 'node:test'
import { openLog } from '../../src/evidence/log-reader.ts'
import { auditFile } from '../../src/lib/state-folder.ts'
import { test } from '../fixtures/drawn.ts'
import { op, wasm } from '../fixtures/wasm.ts'
import { bearer, call, post, type Answer } from './http-door.ts'
import { makePlace, mayfly, startServer, whenReady, type Server } from './program.ts'

/** The two endpoints of effects, on a real server. */
suite('Effects on a running server', () => {
  const place = makePlace()
  let server: Server
  before(async () => {
    server = await startServer(place)
    await whenReady(server)
  })
  after(async () => {
    await server.stop()
    place.remove()
  })
  let key = ''
  const send = (path: string, body: unknown): Promise<Answer> => {
    key ||= server.apiKey
    return post(new URL(path, server.active).href, body, bearer(key))
  }
  const register = (effectId: string, code: string, more: object = {}): Promise<Answer> =>
    send('/api/effects/register', { effectId, code, ...more })
  const execute = (effectId: string, input?: unknown): Promise<Answer> =>
    send('/api/effects/execute', { effectId, input })
  const at = (name: string): string => join(place.cwd, name)
  const keys = (...args: readonly string[]) => mayfly(place, ['keys', ...args, '--json'])
  const auditedNames = (): unknown[] => {
    using log = openLog(auditFile(place.state))
    return [...log.lines()]
      .filter(({ kind }) => kind === 'event')
      .map(({ bodyText }) => JSON.parse(bodyText) as Record<string, any>)
      .filter(({ point }) => point === 'threat/audited')
      .map(({ fields }) => [fields.effectId, fields.threatScore, fields.blocked])
  }

  const recordedText = (): string => {
    using log = openLog(auditFile(place.state))
    return [...log.lines()].map(({ bodyText }) => bodyText).join('\n')
  }

  always('An effect is registered and executed (S3-32, S3-34)', async () => {
    const registered = await register('transform-data', 'return { transformed: input.text }')
    assert.equal(registered.status, 200)
    assert.deepEqual(Object.keys(registered.json).sort(), [
      'effectId',
      'memoryLimit',
      'registeredBy',
      'security',
      'timeout',
    ])
    assert.deepEqual(Object.keys(registered.json['security']).sort(), [
      'severity',
      'signatureValid',
      'threatScore',
    ])
    const { status, json } = await execute('transform-data', { text: 'data' })
    assert.equal(status, 200)
    assert.equal(json['effectId'], 'transform-data')
    assert.deepEqual(json['result'], { transformed: 'data' })
    assert.equal(json['tier'], 'isolate')
    const { executionTime, memoryUsage } = json['metrics']
    assert.ok(executionTime > 0)
    assert.ok(memoryUsage.used > 0 && memoryUsage.percentage > 0)
  })

  always(
    'An effect in WebAssembly whose bytes are no module is refused with their offset, and a module is not',
    async () => {
      const wasmEffect = (bytes: Uint8Array) =>
        register('in-wasm', Buffer.from(bytes).toString('base64'), { language: 'wasm' })
      const whole = wasm({ functions: [{ export: 'run', results: ['i32'], body: op.i32(7) }] })
      for (const [bytes, offset] of [
        [Buffer.from('junk'), 0],
        [Buffer.concat([whole.subarray(0, 8), Buffer.of(1, 99)]), 8],
      ] as const) {
        const { status, json } = await wasmEffect(bytes)
        assert.equal(status, 422)
        assert.match(json['message'], /^Cannot register the effect: "code": .* at offset \d$/)
        assert.deepEqual([json['details'][0].path, json['details'][0].offset], ['code', offset])
        const code = bytes.toString('base64')
        const run = await send('/v1/executions', { code, language: 'wasm' })
        assert.equal(run.json['error']?.code, 'WASM_INVALID', JSON.stringify(run.json))
      }
      assert.equal((await execute('in-wasm')).status, 404)
      assert.equal((await wasmEffect(whole)).status, 200)
      assert.equal((await execute('in-wasm')).json['result'], 7)
    },
  )

  always(
    'A score of 40 leaves no line in the record, a higher one leaves a line, blocked or not (S3-31, S3-41)',
    async () => {
      const timing =
        'const t = performance.now(); for (const x of input) x(); return performance.now() - t'
      assert.equal((await register('timing', timing)).json['security'].threatScore, 40)
      assert.deepEqual(auditedNames(), [])
      assert.ok(!recordedText().includes('"timing"'))
      assert.equal((await register('network', 'return fetch("http://a.example")')).status, 200)
      const { status, json } = await register('leave', 'const a = 1\n  process.exit(a)')
      assert.equal(status, 403)
      assert.equal(json['code'], 'THREAT_DETECTED')
      const { score, severity, patterns } = json['details']
      assert.deepEqual([score, severity], [90, 'critical'])
      assert.deepEqual(
        [patterns[0].name, patterns[0].line, patterns[0].column],
        ['PROCESS_ACCESS', 2, 3],
      )
      assert.deepEqual(auditedNames(), [
        ['network', 75, false],
        ['leave', 90, true],
      ])
      assert.ok(recordedText().includes('"network"'), 'a registration in the record has its name')
      assert.equal((await execute('leave')).status, 404)
    },
  )

  test('Each request of a burst has a line in the record', async () => {
    const before = auditedNames().length
    const burst = Array.from({ length: 150 }, (_, n) =>
      register('burst', `return fetch("http://a.example/${n}")`),
    )
    for (const { status } of await Promise.all(burst)) assert.equal(status, 200)
    const added = auditedNames().slice(before)
    assert.deepEqual(
      added,
      Array.from({ length: 150 }, () => ['burst', 75, false]),
    )
  })

  test('An effect that was admitted with risky names finds none of them defined when it runs', async () => {
    for (const [name, code] of [
      ['by-require', "return require('lodash')"],
      ['by-fetch', "return fetch('http://127.0.0.1')"],
    ] as const) {
      assert.equal((await register(name, code)).status, 200)
      const { status, json } = await execute(name)
      assert.equal(status, 200)
      assert.equal(json['status'], 'error')
      assert.equal(json['error'].name, 'ReferenceError')
    }
  })

  test('An effect has its own limits of time and memory (S3-2, S3-3)', async () => {
    await register('endless', 'for (;;) {}', { timeout: 100 })
    assert.equal((await execute('endless')).json['status'], 'timeout')
    const hoard = 'const all = []; for (;;) all.push(new Array(100_000).fill(input))'
    await register('hoard', hoard, { memoryLimit: 16 })
    assert.equal((await execute('hoard', 1)).json['error'].code, 'MEMORY')
  })

  test('The reported execution time is within 5% of an outside clock (S3-35)', async () => {
    const spin =
      'const began = Date.now(); while (Date.now() - began < input) {} return Date.now() - began'
    await register('spin', spin, { timeout: 20_000 })
    await execute('spin', 1)
    const off: number[] = []
    const isClose = (share: number) => share <= 1 / 20
    // Load of other work adds delay between the two clocks, which matters less in a longer time: the closest ratio counts.
    for (let n = 0; n < 8 && !off.some(isClose); n++) {
      const asked = 1000 * Math.min(8, 2 ** n)
      const began = performance.now()
      const { json } = await execute('spin', asked)
      const outside = performance.now() - began
      const { executionTime, queueTime, startTime, teardownTime } = json['metrics']
      const told = executionTime + queueTime + startTime + teardownTime
      assert.ok(told <= outside, `${told} of ${outside}`)
      off.push(Math.max(outside - told, Math.abs(executionTime - asked)) / outside)
    }
    assert.ok(off.some(isClose), off.join(', '))
  })

  test('A signed effect is reported as signed, a changed one is refused, and that of a revoked signer does not run (S3-24)', async () => {
    writeFileSync(at('signed.js'), 'return input')
    await keys('generate', at('ada.key'))
    await keys('trust', at('ada.key.pub'), '--name', 'ada')
    await keys('sign', at('signed.js'), '--key', at('ada.key'), '--out', at('signed.sig'))
    const signature = JSON.parse(readFileSync(at('signed.sig'), 'utf8')) as unknown
    const registered = await register('signed', 'return input', { signature })
    assert.equal(registered.json['security'].signatureValid, true)
    const ran = await execute('signed', 1)
    assert.deepEqual([ran.json['result'], ran.json['security'].signatureValid], [1, true])
    const changed = await register('signed', 'return input + 1', { signature })
    assert.deepEqual([changed.status, changed.json['code']], [403, 'SIGNATURE_INVALID'])
    await keys('revoke', 'ada')
    const revoked = await execute('signed', 1)
    assert.deepEqual([revoked.status, revoked.json['code']], [403, 'SIGNER_UNKNOWN'])
  })

  always('Effects outlive the server', async () => {
    const { left } = await server.stop()
    assert.deepEqual(left, [])
    server = await startServer(place)
    await whenReady(server)
    assert.deepEqual((await execute('transform-data', { text: 'again' })).json['result'], {
      transformed: 'again',
    })
    const url = new URL('/api/effects', server.active).href
    const { json } = await call(url, { headers: bearer(key) })
    assert.ok(
      (json['items'] as { effectId: string }[]).some(({ effectId }) => effectId === 'timing'),
    )
  })
})
