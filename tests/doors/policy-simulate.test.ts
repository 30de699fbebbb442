import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { documentOf, makePlace, mayfly } from './program.ts'

suite('mayfly policy simulate --egress', () => {
  const place = makePlace()
  after(() => place.remove())

  const simulate = (...args: readonly string[]) =>
    mayfly(place, ['policy', 'simulate', '--egress', ...args])

  test('Each address gets a verdict and the rule behind it (S4-8)', async () => {
    const ran = await simulate(
      'https://api.example.com/v1',
      'https://api.example.com.evil.example/',
      'http://api.example.com/',
      'https://user:pw@api.example.com/',
      'http://[::ffff:169.254.169.254]/',
      'http://2130706433/',
      'no address',
      '--allow',
      'api.example.com',
      'http://127.0.0.1:80',
      'http://[::ffff:a9fe:a9fe]:80',
      '--json',
    )
    assert.equal(ran.code, 0, ran.stderr)
    const all = documentOf(ran) as unknown as Record<'url' | 'verdict' | 'because', string>[]
    assert.deepEqual(Object.keys(all[0]!), ['url', 'verdict', 'because'])
    assert.deepEqual(
      all.map(({ verdict }) => verdict),
      ['allowed', 'denied', 'denied', 'denied', 'denied', 'denied', 'denied'],
    )
    assert.equal(all[0]!.because, '"https://api.example.com:443" is allowed')
    assert.match(all[4]!.because, /IPv4 address in IPv6 form/)
    assert.match(all[5]!.because, /loopback/)
  })

  test('Without --allow it uses the network that the configuration gives a job by default', async () => {
    const closed = await simulate('https://api.example.com/')
    assert.match(closed.stdout, /^denied .*this run has no network/)
    const file = join(place.cwd, 'open.toml')
    writeFileSync(file, 'network = { allow = ["GET https://api.example.com/v1/*"] }\n')
    const given = ['https://api.example.com/v1/a', 'https://api.example.com/v2', '--config', file]
    const { stdout } = await simulate(...given)
    assert.match(stdout, /^allowed .*v1\/a .*\ndenied .*another method or path only\n$/)
    const post = await simulate(...given, '--method', 'POST')
    assert.match(post.stdout, /^denied .*\ndenied /)
  })

  test('Grants stay within the ceilings', async () => {
    const file = join(place.cwd, 'ceiling.toml')
    writeFileSync(file, '[ceilings]\nnetwork = { allow = ["*.example.com"] }\n')
    const asked = ['https://a.example.com/', 'https://b.example.net/', '--config', file]
    const { stdout } = await simulate(...asked, '--allow', 'a.example.com', 'b.example.net')
    assert.match(stdout, /^allowed .*a\.example\.com.*\ndenied .*b\.example\.net/)
  })

  test('A missing address and an invalid host are usage errors', async () => {
    assert.equal((await mayfly(place, ['policy', 'simulate'])).code, 2)
    const wrong = await simulate('https://a.example/', '--allow', 'a b')
    assert.deepEqual([wrong.code, wrong.stdout], [2, ''])
    assert.match(wrong.stderr, /Cannot read the network pattern "a b"/)
  })
})
