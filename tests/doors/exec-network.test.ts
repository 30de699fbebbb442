import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { openRegistry, type Registry } from '../fixtures/registry.ts'
import { noFolderWall } from '../hostile/folder/project.ts'
import { documentOf, makePlace, mayfly, type RunOptions } from './program.ts'

/** Egress of a command: the allowed hosts, and the report of refused ones. */
const timeout = 240_000
const place = makePlace()
after(() => place.remove())

const fetching = `const said = []
for (const url of process.argv.slice(2)) {
  try { said.push((await fetch(url)).status) }
  catch (error) { said.push(String(error.cause?.code ?? error.message)) }
}
console.log(JSON.stringify(said))`

suite('mayfly exec --allow', { skip: noFolderWall, timeout, concurrency: 2 }, () => {
  let registry: Registry
  let at: string
  let config: readonly string[]
  before(async () => {
    registry = await openRegistry()
    at = `http://127.0.0.1:${registry.port}`
    const rule = `"*://*:*", { host = "${at}", private = true }`
    const file = join(place.state, 'private.toml')
    writeFileSync(file, `[ceilings]\nnetwork = { allow = [${rule}] }\n`)
    config = ['--config', file]
    writeFileSync(join(place.cwd, 'fetch.mjs'), fetching)
  })
  after(() => registry[Symbol.asyncDispose]())

  const exec = (flags: readonly string[], command: readonly string[], options: RunOptions = {}) =>
    mayfly(place, ['exec', ...config, ...flags, '--', ...command], options)
  /** Programs keep 127.0.0.1 to themselves otherwise. */
  const far = ['--env', 'NO_PROXY=', 'no_proxy=']
  const urls = () => [`${at}/hello`, 'http://denied.example/', `${at}/away`]

  test('allows the named hosts only, and prints a line about refused ones', async () => {
    const flags = ['--allow', at, '--timeout', '60s', ...far]
    const ran = await exec(flags, ['node', 'fetch.mjs', ...urls()])
    assert.deepEqual(JSON.parse(ran.stdout), [200, 403, 403], ran.stderr)
    assert.match(
      ran.stderr,
      /^mayfly: refused: connect to denied\.example:80 \(.+\); "--allow http:\/\/denied\.example" permits it, if the configuration does$/m,
    )
    assert.match(
      ran.stderr,
      /^mayfly: refused: connect to 169\..+; this address is never reachable$/m,
    )
  })

  test('lists each attempt with --json, and no attempt without a network', async () => {
    const flags = ['--allow', at, '--json', ...far]
    const { metrics } = documentOf(await exec(flags, ['node', 'fetch.mjs', ...urls()]))
    const tried = metrics.network.map((one: any) => [one.host, one.verdict])
    assert.deepEqual(tried.slice(0, 2), [
      ['127.0.0.1', 'allowed'],
      ['denied.example', 'denied'],
    ])
    const none = documentOf(await exec(['--json', ...far], ['node', 'fetch.mjs', `${at}/hello`]))
    assert.deepEqual(none['metrics'].network, [])
    assert.match(none['stdout'], /ECONNREFUSED|ENETUNREACH/)
  })

  test('says that a command without a network tried to reach another host, and how to permit it', async () => {
    const program = `import socket
for address in ('192.0.2.1', '127.0.0.1'):
  try: socket.create_connection((address, 443), 2)
  except OSError as error: print(error.errno)
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try: names.connect(('192.0.2.2', 53))
except OSError as error: print(error.errno)`
    const ran = await exec([], ['/usr/bin/python3', '-c', program])
    assert.deepEqual(ran.stdout.trim().split('\n'), ['101', '111', '101'], ran.stderr)
    const told = ran.stderr.split('\n').filter((line) => line.includes('refused: connect'))
    const how = '"--allow HOST" permits a host, for programs that use HTTPS_PROXY'
    assert.deepEqual(told, [
      `mayfly: refused: connect to 192.0.2.1:443 (network: no route to other hosts); ${how}`,
      `mayfly: refused: connect to 192.0.2.2:53 (network: a name server; no route to other hosts); ${how}`,
    ])
  })

  test('reports three such attempts at most, so that a port scan leaves room for other refusals', async () => {
    const program = `import socket
for last in range(1, 40):
  try: socket.create_connection(('192.0.2.%d' % last, 443), 2)
  except OSError: pass
try: open('.bashrc', 'w')
except OSError as error: print(error.errno)`
    const document = documentOf(await exec(['--json'], ['/usr/bin/python3', '-c', program]))
    assert.equal(document['stdout'].trim(), '13')
    const rules = document['refused'].map((one: { readonly rule: string }) => one.rule)
    assert.deepEqual(rules, ['network', 'network', 'network', 'protected'])
  })

  test('does not advise --allow for a name whose address is not public', async () => {
    const { networkRefusalText } = await import('../../src/folder-wall/refusal-text.ts')
    const because = '"a.example" is not public, which takes a rule of the operator\'s configuration'
    const text = networkRefusalText('a.example', 443, because)
    assert.match(text, /a rule of the configuration with private = true permits it/)
    assert.ok(!text.includes('--allow'))
  })

  test('settings that close private ranges close them also where the configuration permits them', async () => {
    const file = join(place.state, 'srt.json')
    const network = { allowedDomains: [at.replace('http://', '')], deniedDomains: [] }
    const filesystem = { denyRead: [], allowWrite: ['.'], denyWrite: [] }
    const statuses = async (more: object) => {
      writeFileSync(file, JSON.stringify({ network: { ...network, ...more }, filesystem }))
      const flags = ['--settings', file, ...far]
      return (await exec(flags, ['node', 'fetch.mjs', `${at}/hello`])).stdout
    }
    assert.equal(await statuses({}), '[200]\n')
    assert.equal(await statuses({ deniedResolvedAddresses: ['127.0.0.0/8'] }), '[403]\n')
  })

  test('gives programs the CA of a proxy that inspects TLS', async () => {
    const file = join(place.state, 'inspect.toml')
    writeFileSync(file, '[egress]\ninspect = "all"\n')
    const script = `grep -c BEGIN "$NODE_EXTRA_CA_CERTS" "$SSL_CERT_FILE"; test -w "$SSL_CERT_FILE" && echo open
      echo x > "$SSL_CERT_FILE"; rm -f "$SSL_CERT_FILE"; grep -c BEGIN "$SSL_CERT_FILE"`
    const flags = ['--config', file, '--allow', 'example.com', '--']
    const { stdout } = await mayfly(place, ['exec', ...flags, 'sh', '-c', script])
    const [own, all, after] = stdout
      .trim()
      .split('\n')
      .map((line) => Number(line.split(':').at(-1)))
    assert.equal(own, 1)
    assert.ok(all! >= 1 && after === all, stdout)
  })

  test('does not pass on the proxy variables of its caller, and sets its own', async () => {
    const env = { HTTP_PROXY: 'http://127.0.0.1:9', https_proxy: 'http://127.0.0.1:9' }
    const script = 'echo "[$HTTP_PROXY][$https_proxy][$NO_PROXY]"'
    assert.equal((await exec([], ['sh', '-c', script], { env })).stdout, '[][][]\n')
    const { stdout } = await exec(['--allow', 'example.com'], ['sh', '-c', script], { env })
    const own = 'http://127.0.0.1:3128'
    assert.equal(stdout, `[${own}][${own}][localhost,127.0.0.1,::1,[::1]]\n`)
  })
})
