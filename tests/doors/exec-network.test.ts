import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { openCompanyProxy, type CompanyProxy } from '../fixtures/company-proxy.ts'
import { openRegistry, type Registry } from '../fixtures/registry.ts'
import { noFolderWall } from '../hostile/folder/project.ts'
import { documentOf, makePlace, mayfly, type RunOptions } from './program.ts'

/** Egress of a command: the allowed hosts, and the report of refused ones. */
const timeout = 240_000
const place = makePlace()
after(() => place.remove())

const noNpm = !existsSync('/usr/bin/npm') && 'it needs npm'
/** Node of this machine, which may be older than Mayfly's and then ignores proxy variables. */
const systemNode = '/usr/bin/node'
const noSystemNode = !existsSync(systemNode) && 'it needs a Node of this machine'

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
    const named = documentOf(await exec(['--json'], ['node', 'fetch.mjs', 'http://a.example']))
    assert.deepEqual(JSON.parse(named['stdout']), ['ENOTFOUND'])
    const refused = { what: 'connect', path: 'a.example', rule: 'network', name: 'closed' }
    assert.deepEqual(named['refused'], [{ ...refused, program: 'node fetch.mjs' }])
    const script = 'import socket, sys; socket.gethostbyname(sys.argv[1])'
    writeFileSync(join(place.cwd, 'ask.py'), script)
    const asked = async (words: readonly string[], name: string) =>
      documentOf(await exec(['--json'], ['/usr/bin/python3', ...words, name]))['refused'][0]
    for (const [words, program] of [
      [['./ask.py'], 'python3 ask.py'],
      [['-m', 'ask'], 'python3 ask'],
      [['-c', script], 'python3'],
    ] as const)
      assert.deepEqual(await asked(words, 'a.example'), { ...refused, program })
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
    const how = '"--allow HOST" permits a host by its name'
    assert.deepEqual(told, [
      `mayfly: refused: connect to 192.0.2.1:443 (network: no route to other hosts); ${how}`,
      `mayfly: refused: connect to 192.0.2.2:53 (network: a name server; no route to other hosts); ${how}`,
    ])
  })

  test('a host name without a network does not exist, and stderr has the name, the program that asked and the flag at once', async () => {
    const script = 'getent ahosts a.example; echo $? >&2; getent ahosts b.example; echo $? >&2'
    const ran = await exec([], ['sh', '-c', script])
    const line = (name: string) =>
      `mayfly: refused: connect to ${name} (network: closed, asked for by getent); "--allow ${name}" permits it by https, "--allow *://${name}:PORT" on another port`
    const told = ran.stderr.trim().split('\n')
    assert.deepEqual(told.toSorted(), ['2', '2', line('a.example'), line('b.example')])
    assert.ok(told.indexOf(line('a.example')) < 3, ran.stderr)
    assert.equal(told.at(-1), line('b.example'))
  })

  test('an installer without a network asks once for its registry', { skip: noNpm }, async () => {
    const ran = await exec([], ['npm', 'view', 'left-pad', 'version'])
    assert.match(ran.stderr, /npm error code ENOTFOUND/)
    assert.match(ran.stderr, /connect to registry\.npmjs\.org .+ asked for by npm\)/)
  })

  const asking = `import random, socket, struct, sys
seeded = random.Random(int(sys.argv[1]))
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.connect(('127.0.0.1', 53))
head, question = struct.pack('>6H', 7, 256, 1, 0, 0, 0), b'\\1a\\7example\\0\\0\\1\\0\\1'
for _ in range(5000):
  text = bytearray(head + question)
  for _ in range(seeded.randrange(1, 6)): text[seeded.randrange(len(text))] = seeded.randrange(256)
  text = text[:seeded.randrange(len(text) + 1)] if seeded.random() < 0.3 else text
  names.send(bytes(text))
  names.setblocking(False)
  try: names.recv(512)
  except BlockingIOError: pass
for answered in [socket.gethostbyname('localhost')]: print(answered)
try: socket.gethostbyname('c.example')
except socket.gaierror as error: print(error.errno)`

  test('malformed questions to the name server of the wall end neither it nor the command', async () => {
    const seed = process.env['MAYFLY_SEED'] ?? String(Date.now() % 1_000_000)
    const ran = await exec([], ['/usr/bin/python3', '-c', asking, seed])
    assert.equal(ran.stdout, '127.0.0.1\n-2\n', `seed ${seed}: ${ran.stderr}`)
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

suite(
  'Programs that know no proxy, behind mayfly exec --allow',
  { skip: noFolderWall, timeout },
  () => {
    let company: CompanyProxy
    let at: string
    let config: readonly string[]
    const server = createServer((request, answer) => answer.end(`hello ${request.headers.host}`))
    before(async () => {
      company = await openCompanyProxy()
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
      at = `http://shop.example:${(server.address() as AddressInfo).port}`
      const file = join(place.state, 'company.toml')
      writeFileSync(file, `[egress]\nproxy = "http://127.0.0.1:${company.port}"\n`)
      config = ['--config', file, '--allow', at]
    })
    after(async () => {
      server.close()
      await company[Symbol.asyncDispose]()
    })
    const noProxy = `for name in $(env | grep -i proxy | cut -d= -f1); do unset $name; done; exec "$@"`
    const exec = (command: readonly string[]) =>
      mayfly(place, ['exec', ...config, '--', 'sh', '-c', noProxy, 'sh', ...command])
    const text = () => `hello ${new URL(at).host}`

    const programs = {
      fetch: [systemNode, '-e', 'fetch(process.argv[1]).then((a) => a.text()).then(console.log)'],
      'http.get of Node': [
        systemNode,
        '-e',
        "require('http').get(process.argv[1], (a) => a.pipe(process.stdout))",
      ],
      'urllib of Python': [
        '/usr/bin/python3',
        '-c',
        'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())',
      ],
      curl: ['curl', '-sS'],
    }
    for (const [name, command] of Object.entries(programs))
      test(`${name} reaches an allowed host by its name`, { skip: noSystemNode }, async () => {
        const ran = await exec([...command, at])
        assert.equal(ran.stdout.trim(), text(), ran.stderr)
      })

    test('a host that is not allowed is refused by its name', async () => {
      const ran = await exec(['curl', '-sS', 'http://other.example/'])
      assert.equal(ran.code, 7)
      assert.match(
        ran.stderr,
        /refused: connect to other\.example:80 \(.+"--allow http:\/\/other\.example"/,
      )
      assert.ok(!company.asked.some(({ line }) => line.includes('other.example')))
    })

    test('many connects at once, blocking and not, each have their own tunnel', async () => {
      const program = `import asyncio, concurrent.futures, sys, urllib.request
def one(n): return urllib.request.urlopen(sys.argv[1] + '/%d' % n).read()
async def other(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b'GET / HTTP/1.0\\r\\nHost: %s\\r\\n\\r\\n' % sys.argv[1][7:].encode())
    return (await reader.read()).split(b'\\r\\n\\r\\n')[1]
async def others():
    host, port = sys.argv[1][7:].split(':')
    return await asyncio.gather(*(other(host, int(port)) for _ in range(20)))
with concurrent.futures.ThreadPoolExecutor(20) as pool: print(len(set(pool.map(one, range(40)))))
print(set(asyncio.run(others())))`
      const ran = await exec(['/usr/bin/python3', '-c', program, at])
      assert.equal(ran.stdout, `1\n{b'${text()}'}\n`, ran.stderr)
    })

    test('a signal interrupts a connect that waits', async () => {
      const sockets: Socket[] = []
      const silent = createTcpServer((socket) => sockets.push(socket.on('error', () => undefined)))
      await new Promise<void>((listening) => silent.listen(0, '127.0.0.1', listening))
      const file = join(place.state, 'silent.toml')
      const { port } = silent.address() as AddressInfo
      writeFileSync(file, `[egress]\nproxy = "http://127.0.0.1:${port}"\n`)
      const program = `import signal, socket
def stop(*_): raise TimeoutError
signal.signal(signal.SIGALRM, stop)
full = socket.create_server(('127.0.0.1', 0), backlog=0)
for where in ('shop.example', 80), full.getsockname():
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    opened = []
    try:
        while True:
            opened.append(socket.socket())
            opened[-1].connect(where)
    except TimeoutError: print('interrupted')`
      const flags = ['--config', file, '--allow', 'http://shop.example']
      const ran = await mayfly(place, ['exec', ...flags, '--', '/usr/bin/python3', '-c', program])
      for (const socket of sockets) socket.destroy()
      silent.close()
      assert.equal(ran.stdout, 'interrupted\ninterrupted\n', ran.stderr)
    })

    test('a server of the command itself on the loopback is reached without the proxy', async () => {
      const program = `const http = require('http')
const server = http.createServer((request, answer) => answer.end('own')).listen(0, async () => {
  const { port } = server.address()
  for (const host of ['localhost', '127.0.0.1', '[::1]'])
    console.log(await (await fetch('http://' + host + ':' + port)).text())
  server.close()
})`
      for (const node of ['node', systemNode].filter((one) => one === 'node' || !noSystemNode)) {
        const ran = await mayfly(place, ['exec', ...config, '--', node, '-e', program])
        assert.equal(ran.stdout, 'own\nown\nown\n', ran.stderr)
      }
      const others = `import http.server, subprocess, threading, urllib.request
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for host in ('localhost', '127.0.0.1'):
    url = 'http://%s:%d/' % (host, server.server_port)
    print(urllib.request.urlopen(url).status, flush=True)
    subprocess.run(['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}\\n', url])`
      const ran = await mayfly(place, ['exec', ...config, '--', '/usr/bin/python3', '-c', others])
      assert.equal(ran.stdout, '200\n200\n200\n200\n', ran.stderr)
    })
  },
)
