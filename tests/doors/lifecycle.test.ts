import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { firstLine } from '../fixtures/first-line.ts'
import { ordinaryFollows } from '../fixtures/half.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { unable } from '../walls/process-stands.ts'
import {
  bin,
  documentOf,
  leasesIn,
  makePlace,
  mayfly,
  noOrdinaryUser,
  remaining,
  startServer,
  whenReady,
  type Place,
  type Server,
  type Who,
} from './program.ts'

const everybody: readonly (readonly [who: Who, name: string, skip: string | false])[] = [
  ['self', 'whoever runs the tests', false],
  ['ordinary', 'an ordinary user with a home of its own', ordinaryFollows || noOrdinaryUser()],
]

for (const [who, name, skip] of everybody)
  suite(`A server of ${name}`, { skip }, () => {
    test('Starts, prints its address, runs a job and stops on SIGTERM with no process left', async () => {
      await inPlace(who, async (place) => {
        await using server = await startServer(place)
        assert.match(server.apiKey, /^mfy_.{32,}$/)
        assert.notEqual(server.active, server.static)
        await whenReady(server)
        const outcome = await post(server, { code: 'return input + 1', input: 41 })
        assert.equal(outcome.body['result'], 42)
        assert.deepEqual(await server.stop(), { code: 0, left: [] })
        assert.deepEqual(leasesIn(place), [])
        await assertVerified(place)
      })
    })

    test('Stops on SIGTERM before its walls are proved, too', async () => {
      await inPlace(who, async (place) => {
        await using server = await startServer(place)
        assert.deepEqual(await server.stop(), { code: 0, left: [] })
        assert.deepEqual(leasesIn(place), [])
      })
    })

    test('On SIGTERM it is unready at once, waits for the running job, and answers it', async () => {
      await inPlace(who, async (place) => {
        await using server = await startServer(place)
        await whenReady(server)
        const answer = post(server, { code: sleepFor(2_000) })
        await underWay(server)
        const stopped = server.stop()
        assert.equal(await statusWhile(server), 503)
        assert.equal((await answer).body['result'], 'slept')
        assert.deepEqual(await stopped, { code: 0, left: [] })
        await assertVerified(place)
      })
    })

    test('On SIGTERM it waits for the running exec of a session, answers it, and ends the session then', async (t) => {
      if (unable('python')) return t.skip('no wall holds a session')
      await inPlace(who, async (place) => {
        await using server = await startServer(place)
        await whenReady(server)
        const ask = async (path: string, body: object) => {
          const headers = {
            authorization: `Bearer ${server.apiKey}`,
            'content-type': 'application/json',
          }
          const url = new URL(path, server.active)
          const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
          return (await response.json()) as Record<string, any>
        }
        const { id } = await ask('/v1/sandboxes', { language: 'python' })
        const code = 'import time\ntime.sleep(2)\n"slept"'
        const answer = ask(`/v1/sandboxes/${id}/run`, { code })
        await underWay(server)
        const stopped = server.stop()
        const { status, result, session } = await answer
        assert.deepEqual([status, result, session.ended], ['ok', 'slept', false])
        assert.deepEqual(await stopped, { code: 0, left: [] })
        await assertVerified(place)
      })
    })

    test('A job that outlasts the drain is cancelled and answered, and is in the record', async () => {
      await inPlace(who, async (place) => {
        await using server = await startServer(place, [], { MAYFLY_DRAIN: '200ms' })
        await whenReady(server)
        const answer = post(server, { code: 'for (;;) {}', limits: { timeout: '30s' } })
        await underWay(server)
        const { code, left } = await server.stop()
        assert.equal((await answer).body['status'], 'cancelled')
        assert.deepEqual({ code, left }, { code: 0, left: [] })
        const lines = documentOf(
          await mayfly(place, ['audit', 'list', '--limit', '100000', '--json']),
        ) as any
        assert.ok(lines.some((line: any) => line.kind === 'ended' && line.status === 'cancelled'))
        await assertVerified(place)
      })
    })

    test('After SIGKILL no process is left, and the next start closes its open lines of the record', async () => {
      await inPlace(who, async (place) => {
        await using server = await startServer(place)
        await whenReady(server)
        const lost = post(server, { code: 'for (;;) {}', limits: { timeout: '30s' } }).catch(
          () => undefined,
        )
        await underWay(server)
        const all = [server.child.pid!, ...descendantsOf(server.child.pid!)]
        server.child.kill('SIGKILL')
        assert.equal(await lost, undefined)
        // A launcher (bwrap) whose parent dies during its start blocks for ever: the next start sweeps it.
        const left = await remaining(all)
        assert.deepEqual(
          left.filter((one) => !one.includes('(bwrap)')),
          [],
        )

        await using next = await startServer(place)
        assert.equal(next.apiKey, null)
        assert.deepEqual(await next.stop(), { code: 0, left: [] })
        assert.deepEqual(leasesIn(place), [])
        assert.deepEqual(await remaining(all), [])
        const lines = documentOf(
          await mayfly(place, ['audit', 'list', '--limit', '100000', '--json']),
        ) as any
        // Race: if the wall dies before its server, the server still writes the end of the job.
        const ends = lines.filter((line: any) => line.kind === 'closed' || line.kind === 'ended')
        assert.deepEqual(
          ends.map((line: any) => line.status),
          ['failed'],
        )
        await assertVerified(place)
      })
    })
  })

test('A server started by npm ends when npm does, whose shell forwards no signal', async () => {
  await inPlace('self', async (place) => {
    const words = ['-c', '"$0" "$1" serve --port 0 --json; exit $?', process.execPath, bin]
    const shell = spawn('sh', words, {
      cwd: place.cwd,
      env: { ...place.env, npm_lifecycle_event: 'start' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    await firstLine(shell)
    const all = [shell.pid!, ...descendantsOf(shell.pid!)]
    shell.kill('SIGTERM')
    assert.deepEqual(await remaining(all), [])
    assert.deepEqual(leasesIn(place), [])
  })
})

/** Root's state folder is below /var/lib, which this command sees as empty. */
const mountEmpty = 'mount -t tmpfs -o mode=755 tmpfs /var/lib && exec "$@"'
const emptyLibrary = ['unshare', '--mount', '--', 'sh', '-c', mountEmpty, 'sh']

test(
  'As root without a configured state folder the server uses the folder that its warden made',
  { skip: noLibraryOfItsOwn() },
  async () => {
    await inPlace('self', async (own) => {
      const place = { ...own, become: emptyLibrary }
      const unnamed = { env: { MAYFLY_STATE: '' }, stdin: 'return input + 1' }
      const ran = await mayfly(place, ['run', '-', '--input', '41', '--json'], unnamed)
      assert.equal(documentOf(ran)['result'], 42)
    })
  },
)

function noLibraryOfItsOwn(): string | false {
  if (process.getuid?.() !== 0) return 'only root has a state folder of the system'
  const [program, ...args] = [...emptyLibrary, 'true'] as const
  return spawnSync(program, args).status !== 0 && 'root may mount nothing here'
}

async function inPlace(who: Who, work: (place: Place) => Promise<void>): Promise<void> {
  const place = makePlace(who)
  try {
    await work(place)
  } finally {
    place.remove()
  }
}

const sleepFor = (ms: number) =>
  `await new Promise((resolve) => setTimeout(resolve, ${ms})); return 'slept'`

async function post({ active, apiKey }: Server, job: unknown) {
  const response = await fetch(new URL('/v1/executions', active), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` },
    body: JSON.stringify(job),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

/** Waits until the job that was just sent runs in its wall. */
async function underWay({ active, apiKey }: Server): Promise<void> {
  const headers = { authorization: `Bearer ${apiKey}` }
  for (let tries = 0; tries < 200; tries++) {
    const answer = await fetch(new URL('/v1/executions?limit=1', active), { headers })
    const { items } = (await answer.json()) as { items: { status: string }[] }
    if (items[0]?.status === 'running') return
    await sleep(50)
  }
  throw new Error('No job came behind its wall')
}

/** Status of /readyz after the signal has arrived. */
async function statusWhile({ active }: Server): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    const { status } = await fetch(new URL('/readyz', active))
    if (status !== 200) return status
    await sleep(10)
  }
  return 200
}

async function assertVerified(place: Place): Promise<void> {
  const ran = await mayfly(place, ['audit', 'verify', '--json'])
  assert.equal(ran.code, 0, ran.stdout + ran.stderr)
  assert.equal(documentOf(ran)['ok'], true)
}
