import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer } from 'node:net'
import { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { networkOf } from '../../src/contract/network.ts'
import { noNetwork } from '../../src/contract/controls.ts'
import type { Language } from '../../src/contract/job.ts'
import type { TaskEnd } from '../../src/contract/provider.ts'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { inNode, inPython, inShell } from '../conformance/guests-of-programs.ts'
import { makeProcesses } from '../conformance/process.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { inJs, Stand, type GuestLanguage, type Made } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { openWorld, type World } from '../fixtures/egress.ts'

/** Programs in real walls, and the loopback servers they reach through egress. */
const secret = `canary-${'9f27'.repeat(6)}`
let world: World
/** True once a name was looked up whose look-up takes as long as it may. */
let isPending = false
before(async () => {
  world = await openWorld((request, response) => {
    if (request.url !== '/is-pending') return false
    return !!response.end(String(isPending))
  })
})
after(() => world[Symbol.asyncDispose]())

const fetches: Readonly<Partial<Record<Language, string>>> = {
  js: `const said = []
for (const { url, token } of input) {
  try {
    const answer = await fetch(url, token ? { headers: { authorization: token } } : {})
    said.push(answer.status)
  } catch (error) { said.push(String(error.message).slice(0, 80)) }
}
return said`,
  node: `export default async (input) => {
  const said = []
  for (const { url, token } of input) {
    try {
      const answer = await fetch(url, token ? { headers: { authorization: token } } : {})
      said.push(answer.status)
    } catch (error) { said.push(String(error.cause ?? error).slice(0, 80)) }
  }
  return said
}`,
  python: `import urllib.request, urllib.error
def main(input):
    said = []
    for one in input:
        request = urllib.request.Request(one['url'])
        if one.get('token'): request.add_header('authorization', one['token'])
        try: said.append(urllib.request.urlopen(request, timeout=10).status)
        except urllib.error.HTTPError as error: said.append(error.code)
        except Exception as error: said.append(str(error)[:80])
    return said`,
  sh: `read -r urls
for url in $(echo "$urls" | tr -d '[]{}"' | tr , '\\n' | sed -n 's/^url://p'); do
  curl -s -o /dev/null -m 10 -w '%{http_code} ' "$url"
done`,
}
const guests: readonly GuestLanguage[] = [inJs, inNode, inPython, inShell]

for (const jailKind of jailKinds)
  suite(`${jailKind}: egress`, { skip: jailKind === 'bubblewrap' && !findProgram('bwrap') }, () => {
    let made: Made
    before(async () => {
      made = await makeProcesses(jailKind, {}, undefined, {
        credentials: [
          { name: 'api', value: secret, header: 'authorization', hosts: hosts('a.example') },
        ],
        dial: {
          resolver: (name) => {
            if (name === 'slow.example') return ((isPending = true), new Promise(() => undefined))
            return Promise.resolve(name.endsWith('.example') ? ['127.0.0.1'] : [])
          },
          exceptions: world.exceptions,
          trust: [world.authority.pem],
        },
      })
    })
    after(async () => {
      await made.provider.close?.()
      await made.close()
    })
    const stand = (language: GuestLanguage) =>
      new Stand(made.provider, () => Promise.reject(new Error('no other')), language)

    for (const language of guests) {
      const name = language.language
      const skip = name === 'sh' && !findProgram('curl') && 'curl is missing'
      test(
        `A program in ${name} reaches only granted hosts, by name, rule and path`,
        { skip },
        async () => {
          const { http, https } = world.ports
          const allow = [`http://a.example:${http}`, `GET https://b.example:${https}/v1/*`]
          const urls = [
            `http://a.example:${http}/one`,
            `https://b.example:${https}/v1/two`,
            `https://b.example:${https}/v2`,
            `http://c.example:${http}/`,
          ]
          const end = await runOn(
            stand(language),
            name,
            allow,
            urls.map((url) => ({ url })),
          )
          const said = language === inShell ? end.stdout : end.end.resultText
          const answers: readonly unknown[] =
            language === inShell ? said.trim().split(' ').map(Number) : JSON.parse(said)
          const [first, second, ...denied] = answers
          assert.equal(denied.length, 2, said)
          assert.deepEqual([first, second], [200, 200], `${said} ${end.end.error?.message ?? ''}`)
          assert.ok(
            denied.every((one) => one !== 200),
            said,
          )
          const told = end.end.network?.map(({ host, verdict }) => `${host} ${verdict}`) ?? []
          assert.ok(
            told.includes('a.example allowed') && told.includes('c.example denied'),
            told.join(),
          )
          assert.ok(world.heard.some(({ line }) => line === 'GET /v1/two'))
          assert.ok(!world.heard.some(({ line }) => line === 'GET /v2'))
          assert.ok(!world.heard.some(({ headers }) => headers.host?.startsWith('c.example')))
        },
      )
    }

    test('Without a grant no address of this machine is reached', async () => {
      const before = world.connections()
      const { http } = world.ports
      let reached = 0
      await using six = createServer((socket) => (reached++, void socket.destroy()))
      six.listen(http, '::1')
      // A machine may have no IPv6.
      await once(six, 'listening').catch(() => undefined)
      const urls = ['127.0.0.1', '[::1]', '0.0.0.0', 'localhost', '2130706433', 'a.example']
      const asked = urls.map((host) => ({ url: `http://${host}:${http}/` }))
      for (const language of [inNode, inPython]) {
        const { end } = await runOn(stand(language), language.language, [], asked)
        assert.equal(
          (JSON.parse(end.resultText) as unknown[]).length,
          urls.length,
          'it tried each address',
        )
      }
      assert.deepEqual([world.connections(), reached], [before, 0])
    })

    test('A credential is placed outside, and is absent from the memory of the wall', async (t) => {
      const { http, https } = world.ports
      const code = `import time, urllib.request
def main(input):
    for url in input:
        request = urllib.request.Request(url, headers={'authorization': 'mayfly-secret:api'})
        urllib.request.urlopen(request, timeout=10).read()
    print('asked', flush=True)
    time.sleep(3)`
      const heard = world.heard.length
      const before = new Set(descendantsOf(process.pid))
      const running = await stand(inPython).start(code, {
        controls: { network: networkOf({ allow: hosts('a.example') }) },
        input: [`http://a.example:${http}/`, `https://a.example:${https}/`],
      })
      await using _sandbox = running.sandbox
      await running.said('asked')
      const sent = world.heard.slice(heard).map(({ headers }) => headers.authorization)
      assert.deepEqual(sent, [secret, secret])
      const pids = descendantsOf(process.pid).filter((pid) => !before.has(pid))
      const found = await Promise.all(pids.map((pid) => holds(pid, secret)))
      assert.ok(!found.includes(true))
      // After it: the processes were still there.
      const looked = await Promise.all(pids.map((pid) => holds(pid, 'mayfly-secret:api')))
      if (!looked.includes(true)) return t.skip('this user may not read the memory of a wall')
      await running.end
    })

    test('A child that sends on after the end of its program is cut with it, and all that it sent is in the outcome', async () => {
      const { echo } = world.ports
      const code = `import os, socket, time
def main(input):
    way = socket.create_connection(('127.0.0.1', 3128))
    way.sendall(b'CONNECT a.example:%d HTTP/1.1\\r\\nHost: a.example:%d\\r\\n\\r\\n' % (input, input))
    way.recv(4096)
    if os.fork() == 0:
        os.setsid()
        way.settimeout(0.001)
        while True:
            way.sendall(b'x' * 256)
            try: way.recv(65536)
            except OSError: pass
    time.sleep(0.3)`
      const network = networkOf({ allow: [`*://a.example:${echo}`] })
      const before = world.echoed()
      const { end } = await stand(inPython).run(code, { controls: { network }, input: echo })
      assert.equal(end.status, 'ok', end.error?.message ?? '')
      // Bytes that were on their way at the end arrive, and none after them.
      let after = before
      for (let n = 0; n < 20 && after !== world.echoed(); n++) {
        after = world.echoed()
        await sleep(300)
      }
      assert.ok(after > before, 'the child sent nothing')
      assert.equal(world.echoed(), after, 'it sent on after the end')
      const sent = end.network?.find(({ host }) => host === 'a.example')?.sent ?? 0
      assert.ok(sent >= after - before, `${sent} of ${after - before} are told`)
    })

    test('Attack: a look-up that is pending at the end of its program is an attempt of the outcome', async () => {
      const { http } = world.ports
      const code = `import socket, time, urllib.request
def main(input):
    way = socket.create_connection(('127.0.0.1', 3128))
    way.sendall(b'CONNECT slow.example:443 HTTP/1.1\\r\\nHost: slow.example:443\\r\\n\\r\\n')
    for _ in range(200):
        if urllib.request.urlopen(input, timeout=10).read() == b'true': return True
        time.sleep(0.02)`
      isPending = false
      const { end } = await stand(inPython).run(code, {
        controls: {
          network: networkOf({ allow: ['https://slow.example', `http://a.example:${http}`] }),
        },
        input: `http://a.example:${http}/is-pending`,
      })
      assert.equal(end.resultText, 'true', end.error?.message ?? '')
      assert.ok(
        end.network?.some(({ host }) => host === 'slow.example'),
        JSON.stringify(end.network),
      )
    })

    test('Closing the network cuts open connections and refuses new ones', async () => {
      const { echo } = world.ports
      const code = `import socket
def main(input):
    way = socket.create_connection(('127.0.0.1', 3128))
    way.sendall(b'CONNECT a.example:%d HTTP/1.1\\r\\nHost: a.example:%d\\r\\n\\r\\n' % (input, input))
    head = way.recv(4096)
    way.sendall(b'ping')
    echoed = way.recv(4)
    print('echoed', flush=True)
    way.settimeout(5)
    try: cut = way.recv(1) == b''
    except OSError as error: cut = 'timed out' not in str(error)
    again = socket.create_connection(('127.0.0.1', 3128))
    again.sendall(b'CONNECT a.example:%d HTTP/1.1\\r\\nHost: a.example:%d\\r\\n\\r\\n' % (input, input))
    return [head.split(b' ')[1].decode(), echoed.decode(), cut, again.recv(4096).split(b' ')[1].decode()]`
      const network = networkOf({ allow: [`*://a.example:${echo}`] })
      const running = await stand(inPython).start(code, { controls: { network }, input: echo })
      await using sandbox = running.sandbox
      await running.said('echoed')
      const { controls } = stand(inPython).profile({ controls: { network } })
      const { unenforced } = await sandbox.tighten({ ...controls, network: noNetwork })
      assert.deepEqual(unenforced, [])
      assert.equal((await running.end).resultText, '["200","ping",true,"403"]')
    })
  })

function hosts(name: string): readonly string[] {
  return [`http://${name}:${world.ports.http}`, `https://${name}:${world.ports.https}`]
}

async function runOn(
  stand: Stand,
  language: Language,
  allow: readonly string[],
  input: unknown,
): Promise<{ readonly end: TaskEnd; readonly stdout: string }> {
  const network = networkOf(allow.length > 0 ? { allow } : 'none')
  return await stand.run(fetches[language]!, { controls: { network }, input })
}

/** True if readable memory of a process holds the text; false if it cannot be read. */
async function holds(pid: number, text: string): Promise<boolean> {
  try {
    if (readdirSync(`/proc/${pid}/task`).length === 0) return false
    const memory = await open(`/proc/${pid}/mem`, 'r')
    try {
      for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
        const [, from, to, name] =
          /^([0-9a-f]+)-([0-9a-f]+) rw.. \S+ \S+ \S+\s*(.*)$/.exec(line) ?? []
        if (!from || !to || name?.startsWith('[v')) continue
        const length = Math.min(Number.parseInt(to, 16) - Number.parseInt(from, 16), 2 ** 26)
        const { buffer, bytesRead } = await memory
          .read(Buffer.alloc(length), 0, length, Number.parseInt(from, 16))
          .catch(() => ({ buffer: Buffer.alloc(0), bytesRead: 0 }))
        if (buffer.subarray(0, bytesRead).includes(text)) return true
      }
    } finally {
      await memory.close()
    }
  } catch {
    // Exited, or not readable.
  }
  return false
}
