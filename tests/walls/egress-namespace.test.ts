import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { networkInterfaces } from 'node:os'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { networkOf, type NetworkInput } from '../../src/contract/network.ts'
import { Ledger } from '../../src/egress/ledger.ts'
import { openProxy } from '../../src/egress/proxy.ts'
import { listening, openWorld, emitterInto } from '../fixtures/egress.ts'

/** The proxy's socket inside a network namespace without interfaces: reachable and unreachable targets. */
const script = fileURLToPath(new URL('fixtures/in-namespace.js', import.meta.url))
const probe = spawnSync('unshare', [
  '--user',
  '--map-root-user',
  '--net',
  'ip',
  'link',
  'set',
  'lo',
  'up',
])
const missing = probe.status === 0 ? false : 'user namespaces, unshare or ip are missing'
if (missing && process.env['CI'] === 'true') throw new Error(missing)

interface Tried {
  readonly urls: readonly string[]
  readonly tcp: readonly (readonly [address: string, port: number])[]
  readonly udp: readonly (readonly [address: string, port: number])[]
}

async function inNamespace(asked: NetworkInput, exceptions: readonly string[], tried: Tried) {
  const child = spawn('unshare', ['--user', '--map-root-user', '--net', process.execPath, script], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: {
      ...process.env,
      NODE_USE_ENV_PROXY: '1',
      HTTP_PROXY: 'http://127.0.0.1:3128',
      HTTPS_PROXY: 'http://127.0.0.1:3128',
    },
  })
  try {
    const [, listener] = (await once(child, 'message')) as [unknown, Server]
    const network = networkOf(asked)
    await using proxy = openProxy({
      listener,
      network: () => network,
      ledger: new Ledger(
        { sentMax: 2 ** 20, receivedMax: 2 ** 20 },
        { emitter: emitterInto([]), run: null },
      ),
      resolver: () => Promise.resolve(['127.0.0.1']),
      exceptions,
    })
    child.send(tried)
    const [said] = (await once(child, 'message')) as [Record<string, string>]
    const { urls, tcp, udp } = tried
    assert.equal(Object.keys(said).length, urls.length + tcp.length + udp.length + 1)
    return { said, attempts: proxy.attempts }
  } finally {
    child.kill('SIGKILL')
  }
}

suite('A namespace whose only egress path is the proxy', { skip: missing }, () => {
  test('S1-8: raw addresses, DNS, DNS over HTTPS and QUIC fail; an allowed host is reached', async () => {
    await using world = await openWorld()
    // The same on an address of this machine, reachable from any namespace with a network.
    const own = Object.values(networkInterfaces())
      .flatMap((all) => all ?? [])
      .find(({ internal, family }) => !internal && family === 'IPv4')
    const outside = createServer()
    await listening(outside)
    const heard: string[] = []
    const datagrams = createSocket('udp4').on('message', (bytes) => heard.push(String(bytes)))
    await new Promise<void>((resolve) => void datagrams.bind(0, '127.0.0.1', resolve))
    const udpPort = datagrams.address().port
    const tcpPort = (outside.address() as AddressInfo).port
    const { http } = world.ports
    const { said, attempts } = await inNamespace(
      { allow: [`http://a.example:${http}`] },
      world.exceptions,
      {
        urls: [
          `http://a.example:${http}/in`,
          `http://b.example:${http}/`,
          'https://1.1.1.1/dns-query?name=secret.example',
          `http://127.0.0.1:${http}/`,
        ],
        tcp: [
          ['127.0.0.1', 3128],
          ['127.0.0.1', tcpPort],
          ['127.0.0.1', http],
          ['1.1.1.1', 443],
          ['1.1.1.1', 853],
          ...(own ? [[own.address, http] as const] : []),
        ],
        udp: [
          ['127.0.0.1', 3128],
          ['1.1.1.1', 53],
          ['1.1.1.1', 443],
          ...(own ? [[own.address, udpPort] as const] : []),
        ],
      },
    ).finally(() => {
      outside.close()
      datagrams.close()
    })
    const { [`http://a.example:${http}/in`]: reached, ...rest } = said
    assert.match(reached ?? '', /^200 .*GET \/in/)
    // Control: the script reports its own loopback as reached.
    const { 'tcp 127.0.0.1:3128': open, 'udp 127.0.0.1:3128': sent, ...others } = rest
    assert.deepEqual([open, sent], ['open', 'sent'])
    for (const [what, end] of Object.entries(others))
      if (what.startsWith('http')) assert.match(end, /^(403|failed) /, what)
      else if (what === 'dns') assert.match(end, /^E[A-Z]+$/)
      else assert.equal(end, what.includes(' 127.') ? 'ECONNREFUSED' : 'ENETUNREACH', what)
    assert.equal(world.heard.length, 1)
    assert.deepEqual(heard, [])
    assert.deepEqual(
      attempts.filter(({ verdict }) => verdict === 'allowed').map(({ host }) => host),
      ['a.example'],
    )
  })

  test('S1-8: without a network every target fails', async () => {
    await using world = await openWorld()
    const url = `http://a.example:${world.ports.http}/`
    const { said, attempts } = await inNamespace('none', world.exceptions, {
      urls: [url],
      tcp: [['1.1.1.1', 80]],
      udp: [['1.1.1.1', 53]],
    })
    const { [url]: answer, dns, ...others } = said
    assert.match(answer ?? '', /^403 .*no network/)
    assert.match(dns ?? '', /^E[A-Z]+$/)
    assert.deepEqual(Object.values(others), ['ENETUNREACH', 'ENETUNREACH'])
    assert.deepEqual([world.heard.length, attempts.length], [0, 1])
  })
})
