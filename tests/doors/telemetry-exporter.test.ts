import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { test } from 'node:test'
import { openCollector } from './collector.ts'
import { SimulatedClock } from '../sim/simulated-clock.ts'
import { Meters } from '../../src/telemetry/meters.ts'
import { EventStream } from '../../src/telemetry/event-stream.ts'
import { Exporter } from '../../src/telemetry/otlp/exporter.ts'
import { readOtlpSettings } from '../../src/telemetry/otlp/settings.ts'

const config = { telemetry: { service_name: 'mayfly' }, environment: 'test' } as const

test('Ended spans are sent at the latest on close, with the resource attributes', async () => {
  await using collector = await openCollector()
  const { emitter, exporter } = open({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
  emitter.emit('job/ended', { status: 'ok' }, { run: 'exec_1' })
  await Promise.all([exporter.close(), exporter.close()])
  assert.equal(collector.spans.length, 1)
  assert.equal(collector.bodies, 2)
  const { attributes } = collector.spans[0]!
  assert.deepEqual([attributes['mayfly.status'], attributes['mayfly.run']], ['ok', 'exec_1'])
  assert.equal(collector.resources[0]?.['service.name'], 'mayfly')
})

test('A request to an unavailable collector is retried, and nothing is sent twice', async () => {
  await using collector = await openCollector()
  collector.answers.push(503, 429)
  const { emitter, exporter } = open({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces`,
  })
  emitter.emit('job/ended', { status: 'ok' }, { run: 'exec_1' })
  await exporter.close()
  assert.deepEqual([collector.bodies, collector.spans.length], [3, 1])
})

test('A refused request is not retried, and the refused spans are counted', async () => {
  await using collector = await openCollector()
  collector.answers.push(400)
  const { emitter, exporter, dropped } = open({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces`,
  })
  emitter.emit('job/ended', { status: 'ok' }, { run: 'exec_1' })
  await exporter.close()
  assert.equal(collector.bodies, 1)
  assert.equal(await dropped(), 1)
})

test('Without a collector the queue is bounded, dropped spans are counted, and close does not hang', async () => {
  const { emitter, exporter, dropped } = open({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' })
  for (let at = 0; at < 10_000; at += 1) emitter.emit('job/ended', {}, { run: `exec_${at}` })
  assert.equal(await dropped(), 10_000 - 4096)
  await exporter.close()
  assert.equal(await dropped(), 10_000)
})

test(
  'Close ends, and the spans count as dropped, if the collector answers by a change of the protocol',
  { timeout: 60_000 },
  async () => {
    const head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n'
    const collector = createServer((socket) => {
      socket.on('error', () => undefined).once('data', () => socket.write(head))
    }).unref()
    await once(collector.listen(0, '127.0.0.1'), 'listening')
    const { port } = collector.address() as AddressInfo
    const { emitter, exporter, dropped } = open({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
    })
    emitter.emit('job/ended', { status: 'ok' }, { run: 'exec_1' })
    await exporter.close()
    assert.equal(await dropped(), 1)
    collector.close()
  },
)

test(
  'A collector whose answer is too long loses the connection, and its spans count as sent',
  { timeout: 60_000 },
  async () => {
    const left = Promise.withResolvers<void>()
    const collector = createServer((socket) => {
      let left64KiB = 1024
      const send = () => {
        while (left64KiB-- > 0 && socket.write(Buffer.alloc(65_536)));
      }
      socket.unref()
      socket.on('error', () => undefined).on('drain', send)
      socket.once('close', () => left.resolve())
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
        send()
      })
    }).unref()
    await once(collector.listen(0, '127.0.0.1'), 'listening')
    const { port } = collector.address() as AddressInfo
    const { emitter, exporter, dropped } = open({
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_TIMEOUT: '86400000',
      OTEL_BSP_SCHEDULE_DELAY: '1',
    })
    emitter.emit('job/ended', { status: 'ok' }, { run: 'exec_1' })
    await left.promise
    await exporter.close()
    assert.equal(await dropped(), 0)
    collector.close()
  },
)

test('A single signal can be exported, to its own endpoint', async () => {
  await using collector = await openCollector()
  const { emitter, exporter } = open({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_TRACES_EXPORTER: 'none',
  })
  emitter.emit('job/ended', { status: 'ok', tier: 'isolate' }, { run: 'exec_1' })
  await exporter.close()
  assert.equal(collector.spans.length, 0)
  assert.equal(collector.metrics.get('mayfly.executions')?.points[0]?.value, 1)
})

test('Variables override the configuration, and an invalid value is an error with its variable', () => {
  const telemetry = { endpoint: 'http://collector.example/base/', service_name: 'from-file' }
  const read = (env: Record<string, string>) =>
    readOtlpSettings({ telemetry, environment: 'test' }, env)
  const plain = read({})
  assert.deepEqual(
    [plain.tracesUrl, plain.metricsUrl, plain.resource['service.name']],
    [
      'http://collector.example/base/v1/traces',
      'http://collector.example/base/v1/metrics',
      'from-file',
    ],
  )
  const given = read({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://b.example/spans',
    OTEL_SERVICE_NAME: 'from-env',
    OTEL_RESOURCE_ATTRIBUTES: 'a=1,b=c%2Cd,service.name=less',
  })
  assert.equal(given.tracesUrl, 'https://b.example/spans')
  assert.equal(given.resource['service.name'], 'from-env')
  assert.equal(given.resource['b'], 'c,d')
  const attributes = read({ OTEL_RESOURCE_ATTRIBUTES: 'service.name=from-attributes' })
  assert.equal(attributes.resource['service.name'], 'from-attributes')
  const wrong = {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'ftp://a',
    OTEL_EXPORTER_OTLP_HEADERS: 'no pair',
    OTEL_EXPORTER_OTLP_TIMEOUT: 'soon',
    OTEL_BSP_SCHEDULE_DELAY: '0',
    OTEL_RESOURCE_ATTRIBUTES: 'a=%zz',
  }
  for (const [name, value] of Object.entries(wrong))
    assert.throws(
      () => read({ [name]: value }),
      (thrown: any) => thrown.code === 'CONFIG' && thrown.message.includes(name),
    )
})

function open(env: Record<string, string>) {
  const meters = new Meters()
  const exporter = new Exporter(readOtlpSettings(config, env), meters)
  const sinks = [meters.sink, exporter.sink]
  const dropped = async (): Promise<number | undefined> =>
    (await meters.read()).find(({ name }) => name === 'mayfly.telemetry.dropped')?.series[0]?.value
  return { exporter, dropped, emitter: new EventStream({ clock: new SimulatedClock(), sinks }) }
}
