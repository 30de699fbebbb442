import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, verify } from 'node:crypto'
import { suite, test } from 'node:test'
import type { Anomaly } from '../../contract/anomaly.ts'
import { bodyBytesMax, cloudEventOf } from './cloud-event.ts'
import { abandonedMs, leaseMs, openQueue, waitMsMax } from './queue.ts'
import { readSigner } from './sign.ts'
import { backoffMs } from './webhooks.ts'

const secret = Buffer.alloc(32, 7)
const anomaly: Anomaly = {
  name: 'beaconing',
  severity: 'medium',
  zone: 'main',
  at: 12,
  trust: 'host',
  subject: 'c2.example.org:443',
  reason: 'It asked six times',
  evidence: [],
}

suite('Webhook signatures', () => {
  test('HMAC with a shared secret, over id, time and body', () => {
    const signer = readSigner(`whsec_${secret.toString('base64')}\n`)
    const mac = createHmac('sha256', secret).update('msg_1.1700000000.{}').digest('base64')
    assert.equal(signer.sign('msg_1', 1_700_000_000, '{}'), `v1,${mac}`)
  })

  test('Ed25519 signature over the same text', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const signer = readSigner(privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const [version, signature = ''] = signer.sign('msg_1', 17, '{}').split(',')
    assert.equal(version, 'v1a')
    assert(verify(null, Buffer.from('msg_1.17.{}'), publicKey, Buffer.from(signature, 'base64')))
  })

  test('Short secrets and other keys are refused', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
    for (const text of ['', 'secret', 'whsec_c2hvcnQ=', 'whsec_!!!', pem])
      assert.throws(() => readSigner(text), RangeError)
  })
})

test('An anomaly is sent as a CloudEvent, without its evidence if too long', () => {
  const told = { tenant: 'acme', run: 'exec_1', anomaly }
  const event = JSON.parse(cloudEventOf(told, 'msg_1', 0)) as Record<string, unknown>
  assert.equal(event['specversion'], '1.0')
  assert.equal(event['type'], 'dev.mayfly.anomaly.found')
  assert.equal(event['time'], '1970-01-01T00:00:00.000Z')
  assert.deepEqual(event['data'], { run: 'exec_1', tenant: 'acme', ...anomaly })
  const seen = { kind: 'exec', path: 'x'.repeat(bodyBytesMax), denied: false } as const
  const long = { ...anomaly, evidence: [{ at: 1, zone: 'main', trust: 'host' as const, seen }] }
  assert(cloudEventOf({ ...told, anomaly: long }, 'msg_1', 0).length < 1000)
})

test('Each wait is about twice the one before it, up to a bound, and longer if a receiver asks', () => {
  assert.deepEqual(
    [1, 2, 3].map((tries) => backoffMs(tries, 0, 0)),
    [1000, 2000, 4000],
  )
  assert.equal(backoffMs(3, 0, 0.5), 3000)
  assert.equal(backoffMs(1, 30_000, 0), 30_000)
  assert.equal(backoffMs(1000, Infinity, 0), waitMsMax)
})

suite('Webhook queue', () => {
  const letter = { id: 'a', url: 'http://a/', tenant: 'acme', body: '{}', due: 0 }

  test('Leases a delivery to one process at a time, and to another after the first died', () => {
    const queue = openQueue(':memory:')
    assert(queue.put(letter))
    assert.equal(queue.claim(letter.url, 1)?.tries, 1)
    assert.equal(queue.claim(letter.url, 2), undefined)
    assert.equal(queue.claim(letter.url, leaseMs + 2)?.tries, 2)
    queue.remove('a')
    assert.equal(queue.size, 0)
    queue.close()
  })

  test('A delivery that was postponed before the clock was set back is due, and one in its back-off is not', () => {
    const queue = openQueue(':memory:')
    const [today, yesterday] = [86_400_000, 0]
    assert(queue.put({ ...letter, due: today }))
    assert.equal(queue.claim(letter.url, today)?.tries, 1)
    queue.postpone('a', today + waitMsMax)
    assert.equal(queue.claim(letter.url, today), undefined)
    assert.equal(queue.claim(letter.url, yesterday)?.tries, 2)
    assert.equal(queue.claim(letter.url, yesterday), undefined, 'leased')
    queue.postpone('a', yesterday + waitMsMax)
    assert.equal(queue.claim(letter.url, yesterday), undefined)
    queue.close()
  })

  test('A flood of one tenant delays the alarm of another by one delivery', () => {
    const queue = openQueue(':memory:')
    for (const tenant of ['acme', 'zeta'])
      for (let at = 0; at < 50; at++)
        assert(queue.put({ ...letter, id: `${tenant}-${at}`, tenant, due: at }))
    for (const [at, tenant] of ['bolt', 'aard'].entries())
      assert(queue.put({ ...letter, id: tenant, tenant, due: 100 + at }))
    const served: string[] = []
    for (let claimed = 0; claimed < 8; claimed++) {
      const next = queue.claim(letter.url, 1000, served.at(-1))!
      queue.remove(next.id)
      served.push(next.tenant)
    }
    const round = ['aard', 'acme', 'bolt', 'zeta']
    assert.deepEqual(served, [...round, 'acme', 'zeta', 'acme', 'zeta'])
    queue.close()
  })

  test('A tenant cannot use up the limit of another', () => {
    const queue = openQueue(':memory:', { tenantMax: 2, totalMax: 3 })
    const put = (id: string, tenant: string) => queue.put({ ...letter, id, tenant })
    assert.deepEqual([put('a', 'x'), put('b', 'x'), put('c', 'x')], [true, true, false])
    assert.deepEqual([put('d', 'y'), put('e', 'y')], [true, false])
    queue.close()
  })

  test('A receiver that takes nothing uses up the limit of no other receiver', () => {
    const queue = openQueue(':memory:', { tenantMax: 1, totalMax: 2 })
    const put = (id: string, tenant: string, url: string) =>
      queue.put({ ...letter, id, tenant, url })
    assert.deepEqual([put('a', 'x', 'http://a/'), put('b', 'y', 'http://a/')], [true, true])
    assert.deepEqual([put('g', 'x', 'http://a/'), put('h', 'z', 'http://a/')], [false, false])
    assert.deepEqual([put('c', 'x', 'http://b/'), put('e', 'x', 'http://b/')], [true, false])
    assert.deepEqual([put('d', 'y', 'http://b/'), put('f', 'z', 'http://b/')], [true, false])
    queue.close()
  })

  test('Deliveries to a receiver that is no longer configured are forgotten a day after they were due', () => {
    const queue = openQueue(':memory:')
    for (const [id, url, due] of [
      ['a', 'http://old/', 0],
      ['b', 'http://old/', 1],
      ['c', 'http://kept/', 0],
    ] as const)
      assert(queue.put({ ...letter, id, url, due }))
    assert.deepEqual(queue.forgetBut(['http://kept/'], abandonedMs + 1), ['http://old/'])
    assert.equal(queue.size, 2)
    assert.deepEqual(queue.forgetBut(['http://kept/'], abandonedMs + 1), [])
    queue.close()
  })
})
