import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, suite } from 'node:test'
import { openCompanyProxy } from '../fixtures/company-proxy.ts'
import { test } from '../fixtures/drawn.ts'
import { openRegistry, type Registry } from '../fixtures/registry.ts'
import { documentOf, makePlace, mayfly, startServer, whenReady, type Place } from './program.ts'

const fetching = `const said = []
for (const url of input) {
  try { const answer = await fetch(url); said.push(answer.status) }
  catch (error) { said.push(String(error.message)) }
}
return said`

suite('Private networks', () => {
  let place: Place
  let registry: Registry
  let at: string
  before(async () => {
    place = makePlace()
    registry = await openRegistry()
    at = `http://127.0.0.1:${registry.port}`
    write('fetch.js', fetching)
    write(
      'private.toml',
      `[ceilings]\nnetwork = { allow = ["*://*:*", { host = "${at}", private = true }] }\n`,
    )
  })
  after(async () => {
    await registry[Symbol.asyncDispose]()
    place.remove()
  })
  const write = (name: string, text: string) => writeFileSync(join(place.cwd, name), text)
  const config = ['--config', 'private.toml']
  const fetched = (urls: readonly string[]) => ['run', 'fetch.js', '--input', JSON.stringify(urls)]

  test('a private address is reached by a rule of the configuration, and each redirect is checked again', async () => {
    const urls = [`${at}/hello`, `${at}/away`, 'http://169.254.169.254/']
    const ran = await mayfly(place, [
      ...fetched(urls),
      ...config,
      '--allow',
      at,
      'http://169.254.0.1',
      '--json',
    ])
    assert.equal(ran.code, 2, 'no request reaches the link-local address')
    const outcome = documentOf(
      await mayfly(place, [...fetched(urls), ...config, '--allow', at, '--json']),
    )
    const [first, ...others] = outcome['result'] as (number | string)[]
    assert.equal(first, 200, JSON.stringify(outcome['error']))
    for (const one of others) assert.match(String(one), /Cannot (reach|fetch) it/)
    const explained = outcome['profile'].explain.find(
      ({ field }: { field: string }) => field === 'privateHosts',
    )
    assert.deepEqual(explained.value, [at])
  })

  test('fetches that a job aborts end at their server, one that waited is never sent, and their places are free again', async (t) => {
    const asked: string[] = []
    let open = 0
    const server = createServer((request, response) => {
      const hangs = request.url !== '/last'
      if (!hangs) return void response.end(String(open))
      asked.push(request.url!)
      open++
      response.on('close', () => open--)
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    t.after(() => server.close())
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const host = `{ host = "${origin}", private = true }`
    write('hanging.toml', `[ceilings]\nnetwork = { allow = [${host}] }\n`)
    write(
      'aborts.js',
      `const stop = new AbortController()
const all = Array.from({ length: 70 }, (_none, at) =>
  fetch(input + '/' + at, { signal: stop.signal }).catch(({ name }) => name))
const late = fetch(input + '/late', { signal: AbortSignal.timeout(100) }).catch(({ name }) => name)
const first = await late
await new Promise((done) => setTimeout(done, 1000))
stop.abort()
const names = [first, ...new Set(await Promise.all(all))]
let left
do left = await (await fetch(input + '/last')).text()
while (left !== '0')
return names`,
    )
    const words = ['run', 'aborts.js', '--config', 'hanging.toml', '--allow', origin, '--json']
    const ran = await mayfly(place, [...words, '--input', JSON.stringify(origin)])
    assert.deepEqual(documentOf(ran)['result'], ['TimeoutError', 'AbortError'], ran.stderr)
    assert.ok(asked.length > 0 && !asked.includes('/late'), asked.join())
  })

  test('without a rule the command line refuses it, and names the rule that would allow it', async () => {
    for (const host of [at, 'http://10.1.2.3:8080', 'https://[fd00::5]']) {
      const ran = await mayfly(place, [...fetched([`${host}/`]), '--allow', host])
      assert.equal(ran.code, 2, ran.stderr)
      assert.match(ran.stderr, /Cannot allow .*(loopback|a private network)[^]*private = true/)
    }
    const name = await mayfly(place, [...fetched(['http://localhost/']), '--allow', 'localhost'])
    assert.match(name.stderr, /Cannot allow "localhost": it is this host/)
  })

  test('a host outside the ceilings is refused by name, and a host inside them is not', async () => {
    write('ceiling.toml', '[ceilings]\nnetwork = { allow = ["api.example.com"] }\n')
    const words = [...fetched([]), '--config', 'ceiling.toml', '--allow']
    const out = await mayfly(place, [...words, 'other.example.com'])
    assert.equal(out.code, 2)
    assert.match(out.stderr, /Cannot allow "other\.example\.com": ceilings\.network excludes it/)
    assert.equal((await mayfly(place, [...words, 'api.example.com'])).code, 0)
  })

  test('policy simulate and --explain show the rule', async () => {
    const words = [
      'policy',
      'simulate',
      ...config,
      '--json',
      '--egress',
      `${at}/x`,
      'http://10.0.0.1/',
    ]
    const [first, second] = documentOf(
      await mayfly(place, [...words, '--allow', at, 'http://10.0.0.1']),
    ) as unknown as { verdict: string; because: string }[]
    assert.equal(first?.verdict, 'allowed')
    assert.match(first?.because ?? '', /also where its address is private/)
    assert.match(second?.because ?? '', /a private network.*private = true/)
    const explained = await mayfly(place, ['policy', 'explain', ...config])
    assert.match(explained.stdout, /"private":\["http:\/\/127\.0\.0\.1:/)
  })

  test('no job request can add the rule, and no change of a running server can', async () => {
    await using server = await startServer(place)
    await whenReady(server)
    const ask = async (method: string, path: string, body: unknown) => {
      const headers = {
        authorization: `Bearer ${server.apiKey}`,
        'content-type': 'application/json',
      }
      const url = new URL(path, server.active)
      const answer = await fetch(url, { method, headers, body: JSON.stringify(body) })
      return { status: answer.status, body: (await answer.json()) as any }
    }
    const rule = { allow: [{ host: at, private: true }] }
    const code = fetching
    const jobs: unknown[] = [
      { code, network: rule },
      { code, network: { allow: [at], private: [at] } },
      { code, privateHosts: [at] },
      { code, network: { allow: [`private ${at}`] } },
    ]
    for (const job of jobs)
      assert.equal((await ask('POST', '/v1/executions', job)).status, 422, JSON.stringify(job))
    const plain = { code, input: [`${at}/hello`], network: { allow: [at] } }
    const outcome = await ask('POST', '/v1/executions', plain)
    assert.match(String(outcome.body.result), /private = true/)
    const open = await ask('POST', '/v1/executions', { ...plain, network: 'open' })
    assert.match(String(open.body.result), /EGRESS|fetch|reach/)
    for (const patch of [
      { network: rule },
      { ceilings: { network: rule } },
      { tenants: { default: { ceilings: { network: rule } } } },
    ])
      assert.equal((await ask('PATCH', '/v1/config', patch)).status, 422, JSON.stringify(patch))
    assert.ok(!registry.asked.includes('GET /hello-from-job'))
  })

  test("a rule for Mayfly's own ports does not let a guest connect to them", async () => {
    const own = makePlace()
    const port = 20_000 + Math.floor(Math.random() * 20_000)
    const rule = (of: number) => `{ host = "http://127.0.0.1:${of}", private = true }`
    writeFileSync(
      join(own.cwd, 'own.toml'),
      `[server]\nport = ${port}\n[ceilings]\nnetwork = { allow = [${rule(port)}, ${rule(port + 1)}] }\n`,
    )
    writeFileSync(join(own.cwd, 'fetch.js'), fetching)
    const urls = [port, port + 1].map((one) => `http://127.0.0.1:${one}/livez`)
    const hosts = urls.map((url) => new URL(url).origin)
    const words = ['run', 'fetch.js', '--config', 'own.toml', '--input', JSON.stringify(urls)]
    const ran = await mayfly(own, [...words, '--allow', ...hosts, '--json'])
    for (const said of documentOf(ran)['result']) assert.match(said, /a port of Mayfly itself/)
    own.remove()
  })

  test('requests use the configured upstream proxy, and no output contains its credentials', async () => {
    const credentials = 'robot:pass-word-of-the-proxy'
    await using company = await openCompanyProxy({ credentials })
    write(
      'proxy.toml',
      `[egress]\nproxy = "http://127.0.0.1:${company.port}"\nproxy_credentials_env = "CORP_PROXY"\n`,
    )
    const url = `http://registry.example:${registry.port}/hello`
    const words = [...fetched([url]), '--config', 'proxy.toml', '--allow', new URL(url).origin]
    const ran = await mayfly(place, [...words, '--json', '--verbose'], {
      env: { CORP_PROXY: credentials },
    })
    assert.deepEqual(documentOf(ran)['result'], [200], ran.stdout + ran.stderr)
    assert.deepEqual(
      company.asked.map(({ line }) => line),
      [`GET ${url} HTTP/1.1`],
    )
    const basic = Buffer.from(credentials).toString('base64')
    for (const secret of ['pass-word', basic])
      assert.ok(!`${ran.stdout}${ran.stderr}`.includes(secret))
    const without = await mayfly(place, words)
    assert.notEqual(without.code, 0)
    assert.match(without.stderr, /CORP_PROXY/)
  })

  const usrNpm = existsSync('/usr/bin/npm')
  test(
    'npm installs from a mirror at a private address',
    { skip: !usrNpm && 'no npm' },
    async () => {
      write(
        'install.sh',
        'set -e\nexport NO_PROXY= no_proxy=\nnpm install --no-audit --no-fund left-pad >&2\nls node_modules/left-pad\n',
      )
      write('npmrc', `registry=${at}/npm/\nfetch-retries=0\nupdate-notifier=false\n`)
      const words = ['run', 'install.sh', '--file', 'npmrc=.npmrc', ...config, '--allow', at]
      const ran = await mayfly(place, [
        ...words,
        '--timeout',
        '60s',
        '--memory',
        '512MB',
        '--cpu',
        '2',
      ])
      assert.equal(ran.code, 0, ran.stderr)
      assert.match(ran.stdout, /index\.js/)
    },
  )

  test('pip installs from a mirror at a private address', async (t) => {
    write(
      'install-py.sh',
      `set -e
export NO_PROXY= no_proxy=
python3 -m pip --version >/dev/null 2>&1 || { echo "no pip"; exit 0; }
PIP_INDEX_URL=${at}/pypi/ python3 -m pip download --no-cache-dir --disable-pip-version-check --retries 0 -d wheels tiny >&2
ls wheels
`,
    )
    const words = ['run', 'install-py.sh', ...config, '--allow', at]
    const ran = await mayfly(place, [
      ...words,
      '--timeout',
      '60s',
      '--memory',
      '512MB',
      '--cpu',
      '2',
    ])
    assert.equal(ran.code, 0, ran.stderr)
    if (ran.stdout.includes('no pip')) return t.skip('this Python has no pip')
    assert.match(ran.stdout, /tiny-1\.0-py3-none-any\.whl/)
  })
})
