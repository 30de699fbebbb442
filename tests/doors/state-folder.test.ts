import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { once } from 'node:events'
import { suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { descendantsOf } from '../hostile/proc.ts'
import {
  bin,
  documentOf,
  makePlace,
  mayfly,
  noOrdinaryUser,
  remaining,
  startServer,
  whenReady,
  type Place,
  type Server,
} from './program.ts'

/** Faults of the state folder: disk full, missing, left by a failed start, still locked by the warden of a dead server. */
const waitMsMax = 60_000

test(
  'a record whose journal its reader may not read is told as unreadable, not as bad',
  { skip: noOrdinaryUser() },
  async () => {
    const place = makePlace('ordinary')
    try {
      await runOne(place)
      writeFileSync(join(place.state, 'audit.journal'), '', { mode: 0 })
      const { code, stdout, stderr } = await mayfly(place, ['audit', 'verify'])
      assert.deepEqual([code, stdout], [1, ''], stderr)
      assert.match(stderr, /Cannot read the record .*permission denied[^]*own the state folder/)
    } finally {
      place.remove()
    }
  },
)

for (const who of ['self', 'ordinary'] as const)
  test(
    `${who}: a state folder that is a file is named, and stays as it was`,
    { skip: who === 'ordinary' && noOrdinaryUser() },
    async () => {
      const place = makePlace(who)
      try {
        const file = join(place.state, 'file')
        writeFileSync(file, 'kept')
        const { code, stderr } = await mayfly(place, ['--state', file, 'run', jobIn(place)])
        assert.equal(code, 9, stderr)
        assert.match(stderr, /^mayfly: Cannot (?:use|open) .*state\/file.*\n {2}\S/)
        assert.equal(readFileSync(file, 'utf8'), 'kept')
      } finally {
        place.remove()
      }
    },
  )

test(
  'a user without HOME whose uid has no name runs jobs, and is told which walls need a cache folder',
  { skip: noOrdinaryUser() },
  async () => {
    const place = makePlace('ordinary')
    try {
      const env = { HOME: undefined, XDG_CACHE_HOME: undefined }
      const job = jobIn(place)
      const ran = documentOf(await mayfly(place, ['run', job, '--json'], { env }))
      assert.deepEqual([ran['status'], ran['result']], ['ok', 1], JSON.stringify(ran))
      const listed = await mayfly(place, ['providers', '--json'], { env })
      assert.equal(listed.code, 0, listed.stderr)
      const rows = JSON.parse(listed.stdout) as {
        name: string
        available: boolean
        cause?: string
      }[]
      assert.ok(rows.find(({ name }) => name === 'isolated-vm')?.available)
      const machine = rows.find(({ name }) => name === 'qemu')
      assert.match(JSON.stringify(machine), /Cannot determine the cache folder: set \\"HOME\\"/)
    } finally {
      place.remove()
    }
  },
)

suite('On a full disk', { skip: cannotMount() }, () => {
  test('a run fails with a hint, the log still verifies, and everything works again when there is space', async () => {
    await onSmallDisk(async (place, disk) => {
      await runOne(place)
      disk.fill()
      const refused = await mayfly(place, ['run', 'job.js'])
      assert.equal(refused.code, 9)
      assert.match(refused.stderr, /audit\.db": the disk is full/)
      assert.match(refused.stderr, /Make room/)
      const before = readdirSync(place.state)
      const verified = await mayfly(place, ['audit', 'verify'])
      assert.deepEqual([verified.code, verified.stderr], [0, ''], verified.stdout)
      assert.match(verified.stdout, /^ok: 3 lines/)
      assert.deepEqual(readdirSync(place.state), before)
      disk.empty()
      await runOne(place)
    })
  })

  test('a server is not ready, logs the reason once, refuses jobs with it, and recovers when there is space', async () => {
    await onSmallDisk(async (place, disk) => {
      await using server = await startServer(place)
      await whenReady(server)
      assert.equal((await post(server)).status, 200)
      disk.fill()
      for (let n = 0; n < 3; n++) {
        const { status, body, retryAfter } = await post(server)
        assert.deepEqual([status, body['code']], [503, 'DISK_FULL'])
        assert.ok(Number(retryAfter) >= 1)
        assert.match(String(body['message']), /the disk is full/)
        assert.ok(!JSON.stringify(body).includes(place.state), 'no path for a client')
      }
      const unready = await fetch(new URL('/readyz', server.active))
      assert.equal(unready.status, 503)
      const text = await unready.text()
      assert.match(text, /the disk of the state folder is full/)
      assert.ok(!text.includes(place.state), 'no path for a caller without a key')
      assert.equal(
        server.stderr().match(/the disk is full\. Jobs are refused/g)?.length,
        1,
        server.stderr(),
      )
      disk.empty()
      await eventually(() => server.stderr().includes('The record is writable again'))
      await whenReady(server)
      assert.equal((await post(server)).status, 200)
      assert.equal((await server.stop()).code, 0)
      const listed = await mayfly(place, ['audit', 'list'])
      assert.match(listed.stdout, /record\/recovered/)
      assert.match((await mayfly(place, ['audit', 'verify'])).stdout, /^ok/)
    })
  })
})

test(
  'Artifacts larger than the disk together leave its room to the record: each job runs',
  { skip: cannotMount() },
  async () => {
    await onSmallDisk(async (place) => {
      await using server = await startServer(place)
      await whenReady(server)
      const code = 'import os\nopen("a", "wb").write(os.urandom(15 << 20))'
      for (let n = 0; n < 10; n++) {
        const { status, body } = await post(server, { language: 'python', code })
        assert.deepEqual([status, body['status']], [200, 'ok'], JSON.stringify(body))
        assert.equal((body['artifacts'] as unknown[]).length, 1)
      }
      assert.equal((await post(server)).status, 200)
      assert.equal((await fetch(new URL('/readyz', server.active))).status, 200)
    }, '96m')
  },
)

test('A state folder below /proc fails at once, for every command that creates one', async () => {
  await inPlace(async (place) => {
    writeFileSync(join(place.cwd, 'job.js'), 'return 1')
    for (const args of [['run', 'job.js'], ['doctor'], ['serve', '--port', '0']]) {
      const ran = await mayfly(place, [...args, '--state', '/proc/x'])
      assert.equal(ran.signal, null, args.join(' '))
      assert.notEqual(ran.code, 0, args.join(' '))
      assert.match(ran.stderr, /Cannot (?:make|open) .*\/proc\/x/, args.join(' '))
      assert.match(ran.stderr, /--state/, args.join(' '))
    }
  })
})

test('A server whose port is in use creates no key, so the next start can show it', async () => {
  await inPlace(async (place) => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const failed = await mayfly(place, ['serve', '--port', `${port}`])
    taken.close()
    assert.equal(failed.code, 2, failed.stderr)
    assert.match(failed.stderr, /Cannot listen on/)
    assert.ok(!failed.stderr.includes('mfy_'), failed.stderr)
    assert.ok(!existsSync(join(place.state, 'keys.json')))
    await using server = await startServer(place)
    assert.match(server.apiKey, /^mfy_/)
  })
})

test('A job whose server was killed is reported as interrupted', async () => {
  await inPlace(async (place) => {
    const id = await lostJob(place)
    // Any command that opens the record may be the first to close the open line.
    await runOne(place)
    await using server = await startServer(place, [], { MAYFLY_API_KEY: key })
    const response = await fetch(new URL(`/v1/executions/${id}`, server.active), { headers })
    assert.equal(response.status, 200)
    const outcome = (await response.json()) as Record<string, any>
    assert.deepEqual([outcome['status'], outcome['error'].code], ['failed', 'INTERRUPTED'])
    const run = documentOf(
      await mayfly(place, ['audit', 'list', '--limit', '100000', '--json']),
    ) as any
    const own = run.find(({ kind, status }: any) => kind === 'ended' && status === 'ok').run
    const notOurs = await fetch(new URL(`/v1/executions/${own}`, server.active), { headers })
    assert.equal(notOurs.status, 404, 'a run of the command line is no execution of the server')
  })
})

test(
  'As root, commands that act as the owner of the state folder keep to the default one',
  { skip: cannotMount() },
  async () => {
    await inPlace(async ({ cwd, env }) => {
      const script = `set -e
mount -t tmpfs -o mode=755 tmpfs /var/lib
mayfly() { "$NODE" "$BIN" "$@"; }
mayfly run job.js
mayfly keys generate a.key
mayfly keys trust a.key.pub --name ann
mayfly keys list
mayfly audit list`
      writeFileSync(join(cwd, 'job.js'), 'return 1')
      const ran = spawnSync('unshare', ['--mount', 'sh', '-c', script], {
        cwd,
        env: { ...env, MAYFLY_STATE: undefined, NODE: process.execPath, BIN: bin },
        encoding: 'utf8',
      })
      assert.equal(ran.status, 0, ran.stderr)
      assert.match(ran.stdout, /ann +every tenant/)
      assert.match(ran.stdout, /signer\/trusted/)
    })
  },
)

const key = 'mfy_test_0123456789abcdefghijklmnopqrstuv'
const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }

/** Kills a server while it runs a job, and returns the id of the job. */
async function lostJob(place: Place): Promise<string> {
  await using server = await startServer(place, [], { MAYFLY_API_KEY: key })
  await whenReady(server)
  const url = new URL('/v1/executions', server.active)
  const body = JSON.stringify({ code: 'for (;;) {}', limits: { timeout: '60s' } })
  const lost = fetch(url, { method: 'POST', headers, body }).catch(() => undefined)
  let id = ''
  await eventually(async () => {
    const { items } = (await (await fetch(url, { headers })).json()) as { items: any[] }
    id = items[0]?.status === 'running' ? items[0].id : ''
    return id !== ''
  })
  const all = [server.child.pid!, ...descendantsOf(server.child.pid!)]
  process.kill(server.pid, 'SIGKILL')
  server.child.kill('SIGKILL')
  await lost
  await remaining(all)
  return id
}

function jobIn({ cwd }: Place): string {
  writeFileSync(join(cwd, 'job.js'), 'return 1')
  return 'job.js'
}

async function runOne(place: Place): Promise<void> {
  const ran = await mayfly(place, ['run', jobIn(place)])
  assert.equal(ran.code, 0, ran.stderr)
}

async function post({ active, apiKey }: Server, job: object = { code: 'return 1' }) {
  const response = await fetch(new URL('/v1/executions', active), {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(job),
  })
  const body = (await response.json()) as Record<string, unknown>
  return { status: response.status, retryAfter: response.headers.get('retry-after'), body }
}

interface Disk {
  fill(): void
  empty(): void
}

/** A place whose state folder is on a disk of three megabytes, or of another size. */
async function onSmallDisk(
  work: (place: Place, disk: Disk) => Promise<void>,
  size = '3m',
): Promise<void> {
  const mount = mkdtempSync(join(tmpdir(), 'mayfly-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=755`, 'tmpfs', mount])
  const filler = join(mount, 'filler')
  const disk: Disk = {
    fill: () =>
      void spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=1k'], { stdio: 'ignore' }),
    empty: () => rmSync(filler),
  }
  try {
    await inPlace(async (own) => {
      const state = join(mount, 'state')
      mkdirSync(state, { mode: 0o700 })
      await work({ ...own, state, env: { ...own.env, MAYFLY_STATE: state } }, disk)
    })
  } finally {
    execFileSync('umount', ['-l', mount])
    rmSync(mount, { recursive: true, force: true })
  }
}

function cannotMount(): string | false {
  if (process.getuid?.() !== 0) return 'only root may mount a small disk'
  const { status } = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'])
  return status !== 0 && 'root may mount nothing here'
}

async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const until = performance.now() + waitMsMax
  while (!(await isSo())) {
    if (performance.now() > until) throw new Error('Waited in vain')
    await sleep(50)
  }
}

async function inPlace(work: (place: Place) => Promise<void>): Promise<void> {
  const place = makePlace()
  try {
    await work(place)
  } finally {
    place.remove()
  }
}
