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

  test('A method without an address and an invalid host are usage errors', async () => {
    assert.equal((await mayfly(place, ['policy', 'simulate', '--method', 'POST'])).code, 2)
    const wrong = await simulate('https://a.example/', '--allow', 'a b')
    assert.deepEqual([wrong.code, wrong.stdout], [2, ''])
    assert.match(wrong.stderr, /Cannot read the network pattern "a b"/)
  })
})

suite('mayfly policy simulate on recorded runs', () => {
  const place = makePlace()
  after(() => place.remove())

  type Row = Record<'verdict' | 'tier' | 'because' | 'language', string> & { was: { kind: string } }
  async function verdicts(toml: string, ...args: readonly string[]): Promise<readonly Row[]> {
    const file = join(place.cwd, 'simulated.toml')
    writeFileSync(file, toml)
    const ran = await mayfly(place, ['policy', 'simulate', '--json', '--config', file, ...args])
    assert.equal(ran.code, 0, ran.stderr)
    return documentOf(ran) as unknown as readonly Row[]
  }
  const shown = (rows: readonly Row[]) => rows.map(({ verdict, tier }) => [verdict, tier])

  test('Before the first run there is none', async () => {
    const ran = await mayfly(place, ['policy', 'simulate'])
    assert.deepEqual([ran.code, ran.stdout], [0, '0 recorded runs, 0 of them would change\n'])
  })

  test('Recorded runs are judged anew by risk, language and floor of their tenant', async () => {
    writeFileSync(join(place.cwd, 'one.js'), 'return 1')
    writeFileSync(join(place.cwd, 'two.js'), 'process.stdout.write("2")')
    for (const file of ['one.js', 'two.js']) {
      const { code, stderr } = await mayfly(place, ['run', '--once', file])
      assert.equal(code, 0, stderr)
    }
    assert.deepEqual(shown(await verdicts('')), [
      ['same', 'isolate'],
      ['same', 'process'],
    ])
    assert.deepEqual(shown(await verdicts('[escalation]\n0 = "process"\n')), [
      ['stronger', 'process'],
      ['same', 'process'],
    ])
    const strict = '[[tenants]]\nname = "default"\nfloor = "gvisor"\n'
    const rows = await verdicts(strict)
    assert.deepEqual(shown(rows), [
      ['stronger', 'gvisor'],
      ['stronger', 'gvisor'],
    ])
    assert.equal(rows[0]!.because, 'tenants.default.floor')
    const [last, ...more] = await verdicts('[escalation]\n0 = "block"\n', '--limit', '1')
    assert.deepEqual([last!.verdict, last!.language, more], ['blocked', 'node', []])
    const text = await mayfly(place, ['policy', 'simulate', '--config', 'simulated.toml'])
    assert.match(text.stdout, /blocked .*escalation\.0, risk 0\n2 recorded runs, 2 of them/)
  })

  test('A run that was blocked for its risk is reported as unblocked by a configuration that blocks nothing', async () => {
    const file = join(place.cwd, 'blocks.toml')
    writeFileSync(file, '[escalation]\n0 = "block"\n')
    assert.equal((await mayfly(place, ['run', '--once', '--config', file, 'one.js'])).code, 3)
    const [last] = await verdicts('', '--limit', '1')
    assert.deepEqual([last!.verdict, last!.was.kind], ['unblocked', 'blocked'])
    const [same] = await verdicts('[escalation]\n0 = "block"\n', '--limit', '1')
    assert.equal(same!.verdict, 'same')
  })

  test('Unsigned runs are blocked where signatures are required, and one blocked as unsigned is unblocked elsewhere', async () => {
    const all = '[signing]\nrequired = true\n'
    const own = '[[tenants]]\nname = "default"\nsigning = { required = true }\n'
    for (const toml of [all, own]) {
      const [first] = await verdicts(toml)
      assert.deepEqual([first!.verdict, first!.was.kind], ['blocked', 'run'])
      assert.match(first!.because, /^(tenants\.default\.)?signing\.required, no signature$/)
    }
    const other = '[[tenants]]\nname = "other"\nsigning = { required = true }\n'
    assert.equal((await verdicts(other))[0]!.verdict, 'same')
    const file = join(place.cwd, 'signed.toml')
    writeFileSync(file, all)
    assert.equal((await mayfly(place, ['run', '--once', '--config', file, 'one.js'])).code, 3)
    const last = async (toml: string) => (await verdicts(toml, '--limit', '1'))[0]!
    assert.deepEqual(
      [(await last(all)).verdict, (await last('')).verdict, (await last('')).because],
      ['same', 'unblocked', 'SIGNATURE_REQUIRED no longer; its code was not analysed'],
    )
    const words = [
      'generate a.key',
      'trust a.key.pub --name a',
      'sign one.js --key a.key --out a.sig',
    ]
    for (const each of words) {
      const { code, stderr } = await mayfly(place, ['keys', ...each.split(' ')])
      assert.equal(code, 0, stderr)
    }
    const { code } = await mayfly(place, ['run', '--once', 'one.js', '--signature', 'a.sig'])
    const signed = await last(all)
    assert.deepEqual([code, signed.verdict, signed.was.kind], [0, 'same', 'run'])
  })
})
