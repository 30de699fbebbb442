import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeAuthority } from '../../src/egress/authority.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { openStand, openWorld, type Stand, type World } from '../fixtures/egress.ts'

/** Common clients, configured by the usual proxy variables only. */
const authority = makeAuthority(Date.now)
const folder = mkdtempSync(join(tmpdir(), 'mayfly-egress-'))
const file = join(folder, 'authorities.pem')
let world: World
before(async () => {
  world = await openWorld((request, response) => {
    if (request.url !== '/moved') return false
    return !!response.writeHead(302, { Location: `http://b.example:${world.ports.http}/` }).end()
  })
  writeFileSync(file, authority.pem + world.authority.pem)
})
after(async () => {
  await world[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

interface Client {
  readonly name: string
  readonly program: string
  readonly args: (url: string) => readonly string[]
}

const nodeScript =
  'fetch(process.argv[1]).then(async (r) => console.log(r.status, await r.text()), (e) => console.log("failed", e))'
const pythonScript = `
import sys, urllib.request, urllib.error
try:
  r = urllib.request.urlopen(sys.argv[1], timeout=10); print(r.status, r.read().decode())
except urllib.error.HTTPError as e: print(e.code, e.read().decode())
except Exception as e: print('failed', e)`
const clients: readonly Client[] = [
  { name: 'Node', program: process.execPath, args: (url) => ['-e', nodeScript, url] },
  {
    name: 'curl',
    program: '/usr/bin/curl',
    args: (url) => ['-sSLm', '10', '-w', '%{http_code}', url],
  },
  { name: 'Python', program: '/usr/bin/python3', args: (url) => ['-c', pythonScript, url] },
]

for (const { name, program, args } of clients) {
  const isMissing = !existsSync(program)
  if (isMissing && process.env['CI'] === 'true') throw new Error(`${program} is missing`)
  suite(`${name} through the proxy`, { skip: isMissing && `${program} is missing` }, () => {
    const run = (stand: Stand, url: string): Promise<string> => {
      const proxy = `http://127.0.0.1:${stand.port}`
      const env = {
        http_proxy: proxy,
        https_proxy: proxy,
        HTTP_PROXY: proxy,
        HTTPS_PROXY: proxy,
        NODE_USE_ENV_PROXY: '1',
        NODE_EXTRA_CA_CERTS: file,
        SSL_CERT_FILE: file,
        CURL_CA_BUNDLE: file,
      }
      return new Promise((resolve) => {
        execFile(program, args(url), { env, timeout: 20_000 }, (_, stdout, stderr) => {
          resolve(stdout + stderr)
        })
      })
    }

    test('http and https to an allowed host', async () => {
      const { http, https } = world.ports
      const allow = [`http://a.example:${http}`, `https://a.example:${https}`]
      await using stand = await openStand(world, { allow }, { authority })
      assert.match(await run(stand, `http://a.example:${http}/p`), /"GET \/p"/)
      assert.match(await run(stand, `https://a.example:${https}/t`), /"GET \/t"/)
      assert.match(
        await run(stand, `http://b.example:${http}/p`),
        /EGRESS_DENIED|403|no rule allows/,
      )
      assert.match(
        await run(stand, `https://b.example:${https}/p`),
        /EGRESS_DENIED|403|no rule allows/,
      )
      const hosts = stand.proxy.attempts.map(({ host, verdict }) => `${host} ${verdict}`)
      assert.deepEqual(hosts.slice(0, 2), ['a.example allowed', 'a.example allowed'])
      assert.ok(hosts.slice(2).every((one) => one === 'b.example denied'))
    })

    test('https with a rule on paths, by TLS inspection', async () => {
      const { https } = world.ports
      const allow = [`GET https://a.example:${https}/v1/*`]
      await using stand = await openStand(world, { allow }, { authority })
      assert.match(await run(stand, `https://a.example:${https}/v1/x`), /"GET \/v1\/x"/)
      assert.match(await run(stand, `https://a.example:${https}/v2`), /EGRESS_DENIED|403/)
    })

    test('S1-8: DNS lookup where only that is permitted', async () => {
      const resolver = () => Promise.resolve(['93.184.215.14'])
      await using stand = await openStand(world, { allow: ['dns://a.example'] }, { resolver })
      assert.match(await run(stand, 'http://dns.mayfly/resolve?name=a.example'), /93\.184\.215\.14/)
      assert.match(await run(stand, 'http://dns.mayfly/resolve?name=b.example'), /403/)
    })

    test('A redirect to a forbidden host stops at the proxy', async () => {
      const { http } = world.ports
      const heard = world.heard.length
      await using stand = await openStand(world, { allow: [`http://a.example:${http}`] })
      assert.match(
        await run(stand, `http://a.example:${http}/moved`),
        /EGRESS_DENIED|403|no rule allows/,
      )
      assert.equal(world.heard.length, heard + 1)
    })
  })
}
