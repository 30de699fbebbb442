import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, before, isSampled, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { isQemuThere, machinesOf, noQemu } from '../walls/qemu-here.ts'
import {
  documentOf,
  leasesIn,
  makeKey,
  makePlace,
  mayfly,
  remaining,
  startServer,
  whenReady,
  type Server,
} from './program.ts'
import { sessionCalls } from './session-calls.ts'

/** Forks of sessions over HTTP and by the command line, of a server with a tenant of three sessions. */
const skip = isQemuThere() ? false : noQemu
/** Times after the request at which it is disturbed: before, in and after the save, and while children start. */
const waitsMs = process.env['MAYFLY_LONG']
  ? [0, 50, 100, 150, 200, 300, 400, 500, 700, 900, 1_200]
  : isSampled
    ? [300]
    : [100, 500, 1_200]
const config = `
[[tenants]]
name = "default"

[[tenants]]
name = "small"
ceilings = { concurrency = 3 }
`

suite('Forks of a server', { skip, timeout: 1_800_000 }, () => {
  const place = makePlace()
  const file = join(place.cwd, 'forks.toml')
  let missing: string | undefined
  let server: Server
  const keyOf: Record<string, string> = {}
  before(async () => {
    missing = await copyMachineState(place.state)
    if (missing !== undefined) return
    writeFileSync(file, config)
    server = await ready()
    for (const [name, tenant] of [
      ['run', 'default'],
      ['other', 'default'],
      ['small', 'small'],
    ] as const)
      keyOf[name] = makeKey(place, tenant)
  })
  after(async () => {
    if (missing === undefined) {
      assert.deepEqual(await server.stop(), { code: 0, left: [] })
      assert.deepEqual(leasesIn(place), [])
      await server[Symbol.asyncDispose]()
    }
    place.remove()
  })

  async function ready(): Promise<Server> {
    const started = await startServer(place, ['--config', file])
    await whenReady(started)
    return started
  }

  const { ask, opened, ran, end } = sessionCalls(() => server, keyOf, 'run')

  test('POST …/fork answers the children with what they share and lack; each is a session, and the record names their parent', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const id = await opened()
    await ran(id, 'x = 20')
    const asked = { children: 2, labels: { try: '1' }, timeout: '2m' }
    const { status, body } = await ask('POST', `/v1/sandboxes/${id}/fork`, asked)
    assert.equal(status, 201, JSON.stringify(body))
    assert.equal(body.parent, id)
    assert.ok(body.pausedMs > 0 && body.shared.length > 0 && body.lost.length > 0)
    const ids: string[] = body.children.map((one: { id: string }) => one.id)
    assert.equal(new Set([id, ...ids]).size, 3)
    const listed = (await ask('GET', '/v1/sandboxes?label=try:1')).body.items
    assert.deepEqual(
      new Map(listed.map((one: any) => [one.id, one.forkOf])),
      new Map(ids.toReversed().map((one) => [one, id])),
    )
    const others = await ask('GET', '/v1/sandboxes?label=try:1', undefined, 'other')
    assert.deepEqual([others.status, others.body.items], [200, []])
    for (const one of ids) {
      assert.equal((await ask('GET', `/v1/sandboxes/${one}`, undefined, 'other')).status, 404)
      assert.equal(await ran(one, 'x += 1\nx'), 21)
    }
    assert.equal((await end(id)).body.status, 'ok')
    for (const one of ids) assert.equal((await end(one)).body.status, 'ok')
    const listing = await mayfly(place, ['audit', 'list', '--limit', '200', '--json'])
    const lines = JSON.parse(listing.stdout) as any[]
    const forked = lines.find(({ body: line }) => line.point === 'session/forked')
    assert.equal(forked.run, id)
    assert.equal(forked.body.fields.children, 2)
    const admitted = lines.filter(({ kind, run }) => kind === 'admitted' && ids.includes(run))
    assert.deepEqual(
      admitted.map(({ body: line }) => line.forkOf),
      [id, id],
    )
    assert.equal((await mayfly(place, ['audit', 'verify'])).code, 0)
  })

  test('A fork is refused for keys of others, for bodies that are none, beyond the limit of its tenant, and where a wall cannot be copied', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const id = await opened()
    const path = `/v1/sandboxes/${id}/fork`
    assert.equal((await ask('POST', path, {}, 'other')).status, 404)
    for (const bad of [{ children: 0 }, { children: 9 }, { children: 1.5 }, { code: 'x' }, [], 1])
      assert.equal((await ask('POST', path, bad)).body.code, 'INVALID', JSON.stringify(bad))
    await end(id)
    assert.equal((await ask('POST', path, {})).body.code, 'SESSION_ENDED')
    const small = await opened({}, 'small')
    await ran(small, 'x = 1', 'small')
    const beyond = await ask('POST', `/v1/sandboxes/${small}/fork`, { children: 3 }, 'small')
    assert.deepEqual([beyond.status, beyond.body.code], [429, 'RATE_LIMITED'])
    const within = await ask('POST', `/v1/sandboxes/${small}/fork`, { children: 2 }, 'small')
    assert.equal(within.status, 201, JSON.stringify(within.body))
    for (const { id: child } of within.body.children) await end(child, 'small')
    await end(small, 'small')
    const weak = await opened({ tier: undefined, provider: 'bubblewrap' })
    const refused = await ask('POST', `/v1/sandboxes/${weak}/fork`, {})
    assert.deepEqual([refused.status, refused.body.code], [422, 'FORK_UNSUPPORTED'])
    await end(weak)
  })

  test('A fork that is repeated with its Idempotency-Key makes no second one, also at once, and after the end of all; a fork that failed is made anew', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const id = await opened({}, 'small')
    await ran(id, 'x = 20', 'small')
    const fork = (key: string, body: object) =>
      ask('POST', `/v1/sandboxes/${id}/fork`, body, 'small', { 'idempotency-key': key })
    const [first, meanwhile] = await Promise.all([
      fork('a', { children: 1 }),
      fork('a', { children: 1 }),
    ])
    const codes = [first, meanwhile].map(({ status }) => status).sort((a, b) => a - b)
    assert.deepEqual(codes, [201, 409], JSON.stringify([first, meanwhile]))
    const [made, refused] = first.status === 201 ? [first, meanwhile] : [meanwhile, first]
    assert.equal(refused.body.code, 'CONFLICT', JSON.stringify(refused))
    const again = await fork('a', { children: 1 })
    assert.deepEqual(again, { status: 201, body: made.body, isRepeated: true })
    const listed = await ask('GET', '/v1/sandboxes', undefined, 'small')
    assert.equal(listed.body.items.length, 2, JSON.stringify(listed.body))
    assert.equal((await fork('a', { children: 2 })).body.code, 'INVALID')
    for (const tries of [1, 2]) {
      const failed = await fork('b', { children: 2 })
      assert.equal(failed.body.code, 'RATE_LIMITED', `${tries}`)
    }
    await end(made.body.children[0].id, 'small')
    const now = await fork('b', { children: 2 })
    assert.equal(now.status, 201, JSON.stringify(now.body))
    for (const { id: child } of now.body.children) await end(child, 'small')
    await end(id, 'small')
    assert.deepEqual(await fork('a', { children: 1 }), again)
  })

  test('mayfly sandbox fork prints the ids of the children, and one document with --json', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const id = await opened()
    await ran(id, 'x = 20')
    const env = { MAYFLY_API_KEY: keyOf['run']!, MAYFLY_SERVER: server.active }
    const printed = await mayfly(place, ['sandbox', 'fork', id, '--children', '2'], { env })
    assert.equal(printed.code, 0, printed.stderr)
    const ids = printed.stdout.trim().split('\n')
    assert.equal(ids.length, 2)
    assert.equal(new Set([id, ...ids]).size, 3)
    assert.match(printed.stderr, /does not have open connections/)
    const words = ['sandbox', 'fork', ids[0]!, '--memory', '64MB', '--json']
    const forked = documentOf(await mayfly(place, words, { env }))
    assert.equal(forked['parent'], ids[0])
    const grandchild = forked['children'][0].id as string
    for (const one of [...ids, grandchild]) assert.equal(await ran(one, 'x'), 20)
    for (const one of [id, ...ids, grandchild]) await end(one)
  })

  const leases = () => leasesIn(place).map((name) => name.replace(/\.json$/, ''))

  /** A fork of two children that has been under way for `waitMs`, and the walls of that moment. */
  async function forking(waitMs: number) {
    const id = await opened()
    await ran(id, 'x = 20')
    const answer = ask('POST', `/v1/sandboxes/${id}/fork`, { children: 2 }).catch(() => undefined)
    await sleep(waitMs)
    const all = [server.child.pid!, ...descendantsOf(server.child.pid!)]
    const known = new Set(leases())
    assert.ok(foldersOf(known).length > 0, 'walls have folders')
    return { answer, all, known }
  }

  const foldersOf = (walls: ReadonlySet<string>) =>
    readdirSync('/tmp').filter((name) => walls.has(name.replace('mayfly-', '')))

  /** Folders of walls that have no lease any more. */
  function foldersLeft(known: ReadonlySet<string>): readonly string[] {
    return foldersOf(known.difference(new Set(leases())))
  }

  for (const victim of ['server', 'warden'] as const)
    test(`No process, folder or lease is left after SIGKILL to the ${victim} in the middle of a fork`, async (t) => {
      if (missing !== undefined) return t.skip(missing)
      for (const waitMs of waitsMs) {
        const { answer, all, known } = await forking(waitMs)
        process.kill(victim === 'server' ? server.pid : server.child.pid!, 'SIGKILL')
        await answer
        // A launcher (bwrap) whose parent dies during its start blocks for ever: the next start sweeps it.
        const left = (await remaining(all)).filter((one) => !one.includes('(bwrap)'))
        assert.deepEqual(left, [])
        await server[Symbol.asyncDispose]()
        server = await ready()
        assert.ok(known.size > 0)
        assert.deepEqual([...known.intersection(new Set(leases()))], [])
        assert.deepEqual(foldersLeft(known), [])
      }
    })

  test('No session, process or folder is left after SIGKILL to every QEMU in the middle of a fork, and the next fork is made', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    for (const waitMs of waitsMs) {
      const { answer, all, known } = await forking(waitMs)
      const { qemu, jails } = machinesOf(all)
      assert.ok(qemu.length > 0 && jails.length > 0)
      for (const pid of qemu) process.kill(pid, 'SIGKILL')
      const forked = await answer
      const ids: string[] = forked?.body.children?.map((one: { id: string }) => one.id) ?? []
      // A child that was restored after the kill is whole, or it is none.
      for (const one of ids) {
        const { status, body } = await ask('POST', `/v1/sandboxes/${one}/run`, { code: 'x' })
        if (status === 200 && body.status === 'ok') assert.equal(body.result, 20)
        await end(one)
      }
      const listed = async () => (await ask('GET', '/v1/sandboxes')).body.items.length as number
      for (let tries = 0; tries < 500 && (await listed()) > 0; tries++) await sleep(20)
      assert.equal(await listed(), 0)
      assert.deepEqual(await remaining([...qemu, ...jails]), [])
      assert.deepEqual(foldersLeft(known), [])
      const id = await opened()
      await ran(id, 'x = 1')
      const next = await ask('POST', `/v1/sandboxes/${id}/fork`, {})
      assert.equal(next.status, 201, JSON.stringify(next.body))
      for (const one of [id, next.body.children[0].id]) await end(one)
    }
  })
})
