import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { systemClock } from '../../src/contract/clock.ts'
import type { StoredCapture } from '../../src/contract/evidence.ts'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { pieceBytes } from '../../src/evidence/captures.ts'
import { createCustody } from '../../src/evidence/custody.ts'
import { openRecord } from '../../src/evidence/record.ts'
import type { Scope } from '../../src/gateway/http/keys.ts'
import { openKeys } from '../../src/gateway/http/keys.ts'
import { sha256 } from '../../src/lib/hash.ts'
import { inTime } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { event } from '../fixtures/record.ts'
import { openDoor } from './http-door.ts'
import { noTerminal, onTerminal } from './on-terminal.ts'
import {
  documentOf,
  makeKey,
  makePlace,
  mayfly,
  startServer,
  whenReady,
  type Place,
  type Server,
} from './program.ts'
import { readEvents } from './read-events.ts'

const run = `exec_${'a'.repeat(32)}`
const held = Buffer.concat([Buffer.alloc(pieceBytes, 'm'), Buffer.from('a planted text')])

/** A record with one capture in it, of tenant `acme`; the caller closes it. */
async function recordAt(state: string, planted = 'a planted text') {
  const record = openRecord({ stateFolder: state, clock: systemClock })
  const { keep, evidence } = createCustody({
    bodies: () => record.bodies,
    now: () => 1_767_225_600_000,
    tell: (point, fields, { run: of, tenant, actor }) =>
      void record.append(event({ point, fields, actor, run: of }), tenant),
  })
  const bytes = Buffer.concat([Buffer.alloc(pieceBytes, 'm'), Buffer.from(planted)])
  const parts = [
    { name: 'memory.bin', bytes: [bytes] },
    { name: 'memory.json', bytes: [Buffer.from('[]')] },
  ]
  await keep({ run, tenant: 'acme', because: 'operator' }, { kind: 'memory', parts })
  return { record, evidence }
}

const capture = 'capture-1767225600000'

suite('Evidence over HTTP', () => {
  async function withKeys() {
    const place = makePlace()
    const { record, evidence } = await recordAt(place.state)
    const { created } = await openKeys({ folder: place.state })
    const made = (tenant: string, scopes: readonly Scope[]) => makeKey(place, tenant, scopes)
    const keyOf = {
      admin: created!,
      operate: made('acme', ['operate']),
      read: made('acme', ['read']),
      run: made('acme', ['run']),
      other: made('other', ['operate', 'read']),
    }
    const { keys } = await openKeys({ folder: place.state })
    const door = await openDoor({ keys, evidence, limits: { operatePerMinute: 4 } })
    return {
      state: place.state,
      record,
      ask: (path: string, key: keyof typeof keyOf, method = 'GET') =>
        fetch(new URL(path, door.gateway.activeUrl), {
          method,
          headers: { authorization: `Bearer ${keyOf[key]}` },
        }),
      async [Symbol.asyncDispose]() {
        await door[Symbol.asyncDispose]()
        await record.close()
        place.remove()
      },
    }
  }

  const bytes = `/v1/evidence/${run}/${capture}/memory.bin`

  test('Scope read lists captures, and scope operate reads their bytes, of its own tenant only', async () => {
    await using door = await withKeys()
    const statuses = async (path: string) =>
      Promise.all(
        (['admin', 'operate', 'read', 'run', 'other'] as const).map(
          async (key) => (await door.ask(path, key)).status,
        ),
      )
    assert.deepEqual(await statuses(`/v1/evidence/${run}`), [200, 200, 200, 403, 404])
    assert.deepEqual(await statuses(bytes), [200, 200, 403, 403, 404])
    const none = await door.ask(`/v1/evidence/exec_${'0'.repeat(32)}`, 'admin')
    const foreign = await door.ask(`/v1/evidence/${run}`, 'other')
    assert.deepEqual([none.status, await none.json()], [404, await foreign.json()])
    for (const path of ['memory', 'capture.json', '..%2Fmemory.bin'])
      assert.equal((await door.ask(`/v1/evidence/${run}/${capture}/${path}`, 'admin')).status, 404)
  })

  test('Downloads are the captured bytes, with their digest, and are in the record with the principal', async () => {
    await using door = await withKeys()
    const { captures } = (await (await door.ask(`/v1/evidence/${run}`, 'read')).json()) as {
      captures: StoredCapture[]
    }
    const [part] = captures[0]!.parts
    assert.deepEqual(part, {
      name: `${capture}/memory.bin`,
      size: held.length,
      sha256: sha256(held),
    })
    const head = await door.ask(bytes, 'operate', 'HEAD')
    assert.deepEqual([head.status, await head.text()], [200, ''])
    const before = door.record.head().seq
    const response = await door.ask(bytes, 'operate')
    for (const { headers } of [head, response]) {
      assert.equal(headers.get('content-length'), String(held.length))
      const digest = createHash('sha256').update(held).digest('base64')
      assert.equal(headers.get('repr-digest'), `sha-256=:${digest}:`)
      assert.match(headers.get('content-disposition')!, /^attachment; filename="[\w.-]+"$/)
    }
    assert.ok(Buffer.from(await response.arrayBuffer()).equals(held))
    const lines = [...door.record.store.lines(before, before + 9)]
    assert.deepEqual(
      lines.map(({ run: of, tenant }) => [of, tenant]),
      [[run, 'acme']],
    )
    assert.match(lines[0]!.bodyText, /"actor":"key:[^"]+".*"point":"evidence\/read"/)
  })

  test('Changed bytes are not served as the capture, and reading is rate-limited', async () => {
    await using door = await withKeys()
    using db = new DatabaseSync(join(door.state, 'bodies.db'))
    db.exec(`UPDATE bodies SET body = zeroblob(20) WHERE name = '${capture}/memory.bin/1'`)
    const response = await door.ask(bytes, 'operate')
    await assert.rejects(response.arrayBuffer())
    const statuses = []
    for (let n = 0; n < 5; n++)
      statuses.push((await door.ask(bytes.replace('bin', 'json'), 'operate')).status)
    assert.deepEqual(statuses, [200, 200, 200, 429, 429])
  })
})

suite('mayfly evidence', () => {
  let place: Place
  before(async () => {
    place = makePlace()
    await (await recordAt(place.state)).record.close()
  })
  after(() => place.remove())

  const evidence = (...args: readonly string[]) => mayfly(place, ['evidence', ...args])
  const change = (sql: string) => {
    using db = new DatabaseSync(join(place.state, 'bodies.db'))
    db.exec(sql)
  }

  test('Captures are listed, shown, verified, and extracted once their digest is right', async () => {
    const listed = documentOf(await evidence('list', '--json')) as unknown as StoredCapture[]
    assert.deepEqual(
      listed.map(({ name, run: of, tenant }) => [name, of, tenant]),
      [[capture, run, 'acme']],
    )
    assert.match((await evidence('list')).stdout, new RegExp(`${run} +acme +${capture}`))
    assert.match((await evidence('show', run)).stdout, new RegExp(`sha256:${sha256(held)}`))
    const verified = await evidence('verify', run, '--json')
    assert.deepEqual([verified.code, documentOf(verified)['parts'].length], [0, 2])

    const extracted = await evidence('extract', run, 'found')
    assert.equal(extracted.code, 0, extracted.stderr)
    const path = join(place.cwd, 'found', capture, 'memory.bin')
    assert.ok(readFileSync(path).equals(held))
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.deepEqual(readdirSync(join(place.cwd, 'found', capture)).sort(), [
      'memory.bin',
      'memory.json',
    ])
    const again = await evidence('extract', run, 'found')
    assert.deepEqual([again.code, /it is there already/.test(again.stderr)], [1, true])
    const piped = await evidence('extract', run, '-', '--part', `${capture}/memory.json`)
    assert.deepEqual([piped.code, piped.stdout], [0, '[]'])
    assert.equal((await evidence('extract', run, '-')).code, 2)
    assert.equal((await evidence('show', 'exec_0')).code, 1)
  })

  test('A capture is found by its own name, and another of its execution is left out', async () => {
    const other = makePlace()
    try {
      const { record } = await recordAt(other.state)
      const { keep } = createCustody({
        bodies: () => record.bodies,
        now: () => 1_767_225_700_000,
        tell: (point, fields, { run: of, tenant, actor }) =>
          void record.append(event({ point, fields, actor, run: of }), tenant),
      })
      const parts = [{ name: 'memory.bin', bytes: [Buffer.from('the later capture')] }]
      await keep({ run, tenant: 'acme', because: 'asked' }, { kind: 'memory', parts })
      await record.close()
      const evidence = (...args: readonly string[]) => mayfly(other, ['evidence', ...args])
      const names = async (id: string) =>
        (documentOf(await evidence('show', id, '--json'))['captures'] as StoredCapture[]).map(
          ({ name, run: of }) => [name, of],
        )
      const later = 'capture-1767225700000'
      assert.deepEqual(await names(run), [
        [capture, run],
        [later, run],
      ])
      assert.deepEqual(await names(later), [[later, run]])
      const verified = await evidence('verify', later)
      assert.deepEqual([verified.code, verified.stdout], [0, `ok: ${later}/memory.bin\n`])
      assert.equal((await evidence('search', later, 'planted')).code, 1)
      assert.equal((await evidence('search', capture, 'planted')).code, 0)
      assert.equal((await evidence('extract', later, 'by-name')).code, 0)
      assert.deepEqual(readdirSync(join(other.cwd, 'by-name')), [later])
      const piped = await evidence('extract', later, '-', '--part', `${later}/memory.bin`)
      assert.deepEqual([piped.code, piped.stdout], [0, 'the later capture'])
      const unknown = await evidence('show', 'capture-1')
      assert.deepEqual([unknown.code, /Cannot find evidence of/.test(unknown.stderr)], [1, true])
    } finally {
      other.remove()
    }
  })

  test('Attack: a capture that was replaced, with a later line of the record about it, is named', async () => {
    const forged = makePlace()
    try {
      for (const text of ['a planted text', 'a text of the intruder'])
        await (await recordAt(forged.state, text)).record.close()
      const verified = await mayfly(forged, ['evidence', 'verify', run])
      assert.equal(verified.code, 1)
      assert.match(
        verified.stdout,
        /^bad: .*memory\.bin: .* differs from the record\nok: .*memory\.json$/m,
      )
    } finally {
      forged.remove()
    }
  })

  test('A changed capture is named, and no byte of it is extracted', async () => {
    change(`UPDATE bodies SET body = zeroblob(20) WHERE name = '${capture}/memory.bin/1'`)
    const verified = await evidence('verify', run)
    assert.equal(verified.code, 1)
    assert.match(verified.stdout, /^bad: .*memory\.bin: .* was changed\nok: .*memory\.json$/m)
    assert.equal((await evidence('extract', run, 'changed')).code, 1)
    assert.deepEqual(readdirSync(join(place.cwd, 'changed', capture)), [])
    const piped = await evidence('extract', run, '-', '--part', `${capture}/memory.bin`)
    assert.deepEqual([piped.code, piped.stdout], [1, ''])
    change(`DELETE FROM bodies WHERE name LIKE '${capture}/%'`)
    const gone = await evidence('verify', run)
    assert.equal(gone.code, 1)
    assert.match(gone.stdout, /^bad: .*memory\.bin: it is no longer stored$/m)
  })

  test('Attack: a capture with a forged name or time is printed without control characters, and hides no other', async () => {
    const forged = makePlace()
    try {
      const { record } = await recordAt(forged.state)
      const summary = { format: 1, at: 9e15, because: 'asked', kind: 'none', parts: [] }
      for (const name of ['capture-\x1b]0;owned\x07', 'capture-9000000000000000'])
        record.bodies.put(
          { tenant: 'acme', run, name: `${name}/capture.json` },
          Buffer.from(JSON.stringify(summary)),
          Date.now(),
        )
      await record.close()
      for (const words of [['list'], ['show', run]]) {
        const { code, stdout, stderr } = await mayfly(forged, ['evidence', ...words])
        assert.equal(code, 0, stderr)
        assert.match(stdout, /capture-9000000000000000 +\? +none/)
        assert.ok(stdout.includes(capture), stdout)
        assert.doesNotMatch(stdout, /[^\P{Cc}\n]/u)
      }
    } finally {
      forged.remove()
    }
  })

  test(
    'Attack: a part on a terminal has its control characters escaped, and in a pipe none',
    { skip: noTerminal() },
    async () => {
      const other = makePlace()
      try {
        const title = '\x1b]0;owned\x07'
        await (await recordAt(other.state, title)).record.close()
        const words = ['evidence', 'extract', run, '-', '--part', `${capture}/memory.bin`]
        const shown = onTerminal(other, words.join(' '))
        assert.match(shown, /\\x1b\]0;owned\\x07/)
        assert.ok(!shown.includes('\x1b'), 'a terminal got an escape character')
        assert.ok((await mayfly(other, words)).stdout.endsWith(title))
      } finally {
        other.remove()
      }
    },
  )

  test('A record with a damaged table is named by evidence verify, with a way out', async () => {
    const damaged = makePlace()
    try {
      await (await recordAt(damaged.state)).record.close()
      const path = join(damaged.state, 'audit.db')
      const bytes = readFileSync(path)
      const at = bytes.indexOf('CREATE TABLE')
      assert.ok(at > 0)
      bytes.write('CREATE TABLF', at)
      writeFileSync(path, bytes)
      const { code, stderr } = await mayfly(damaged, ['evidence', 'verify', run])
      assert.equal(code, 1)
      assert.match(
        stderr,
        /^mayfly: Cannot read the record ".*audit\.db": .*\n {2}The file is damaged/,
      )
    } finally {
      damaged.remove()
    }
  })

  test('An empty store says so, and creates no file', async () => {
    const empty = makePlace()
    try {
      const listed = await mayfly(empty, ['evidence', 'list', '--json'])
      assert.deepEqual([listed.code, JSON.parse(listed.stdout)], [0, []])
      assert.equal((await mayfly(empty, ['evidence', 'show', run])).code, 1)
      assert.deepEqual(readdirSync(empty.state), [])
    } finally {
      empty.remove()
    }
  })
})

/** Program whose memory has the planted text, while its source does not. */
const planted = 'the-planted-text-of-a-program'
const hidden = JSON.stringify([...Buffer.from(planted)].map((byte) => byte ^ 0x55))
const holding = `const held = Buffer.from(${hidden}.map((byte) => byte ^ 0x55))
setInterval(() => console.log(held.length), 20)`

suite('Evidence of a program', () => {
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

  async function ask(method: string, path: string, body?: unknown) {
    const response = await fetch(new URL(path, server.active), {
      method,
      headers: {
        authorization: `Bearer ${server.apiKey}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        prefer: 'respond-async',
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    return (await response.json()) as Record<string, any>
  }

  /** Starts a job, waits for its first output and returns its id. */
  async function running(job: unknown): Promise<string> {
    const response = await fetch(new URL('/v1/executions', server.active), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${server.apiKey}`,
        'content-type': 'application/json',
        accept: 'text/event-stream',
      },
      body: JSON.stringify(job),
    })
    const said = Promise.withResolvers<void>()
    const hear = async () => {
      for await (const { event } of readEvents(response)) if (event === 'stdout') said.resolve()
    }
    hear().catch(said.reject)
    await inTime(said.promise, 'the first that it says')
    return (await ask('GET', '/v1/sandboxes'))['items'][0].id
  }

  test('S1-20: planted memory contents are found in the extracted files, offline', async (t) => {
    const rows = (await ask('GET', '/v1/providers')) as unknown as {
      can: string[]
      available: boolean
    }[]
    if (!rows.some(({ available, can }) => available && can.includes('capture-memory')))
      return t.skip('no wall here supports captures')
    const job = { code: holding, language: 'node', tier: 'process', limits: { timeout: '30s' } }
    const id = await running(job)
    assert.equal((await ask('POST', `/v1/sandboxes/${id}/capture`))['kind'], 'memory')
    assert.equal((await ask('GET', `/v1/evidence/${id}`))['captures'].length, 1)
    await ask('DELETE', `/v1/sandboxes/${id}`)
    assert.equal((await mayfly(place, ['evidence', 'verify', id])).code, 0)
    const { stdout, code } = await mayfly(place, ['evidence', 'extract', id, 'found'])
    assert.equal(code, 0)
    const [memory = ''] = stdout.split('\n').filter((path) => path.endsWith('memory.bin'))
    assert.ok(readFileSync(join(place.cwd, memory)).includes(planted))
  })
})

const jobs = {
  python: `held = bytes(byte ^ 0x55 for byte in ${hidden})
def main(input):
    print('holds', flush=True)
    return len(held)`,
  node: `const held = Buffer.from(${hidden}.map((byte) => byte ^ 0x55))
export default () => (console.log('holds'), globalThis.held = held, held.length)`,
}

/** Plants a secret; a program that prints it is captured. */
const capturing = `[anomalies]
honeytokens = true
[schedules.default]
phases = [{ name = "full", for = "10s" }]
on_anomaly = { low = "record", medium = "record", high = "capture" }
`

suite('A job that asks to be captured', () => {
  interface Row {
    readonly name: string
    readonly available: boolean
    readonly can: readonly string[]
  }
  let place: Place
  let rows: readonly Row[]
  before(async () => {
    place = makePlace()
    rows = documentOf(await mayfly(place, ['providers', '--json'])) as unknown as Row[]
  })
  after(() => place.remove())

  /** Outcome of the job here; undefined if no such wall supports captures. */
  async function ran(provider: string, name: string, code: string, ...more: readonly string[]) {
    const row = rows.find(({ name: one }) => one === provider)
    if (!row?.available || !row.can.includes('capture-memory')) return undefined
    const args = ['run', '-', '--capture', '--provider', provider, '--json', '--language', name]
    return documentOf(await mayfly(place, [...args, ...more], { stdin: code }))
  }

  async function heldBy({ id }: Record<string, any>) {
    const verified = await mayfly(place, ['evidence', 'verify', id])
    assert.equal(verified.code, 0, verified.stdout)
    const { stdout } = await mayfly(place, ['evidence', 'extract', id, id])
    const path = stdout.split('\n').find((one) => one.endsWith('memory.bin'))!
    return readFileSync(join(place.cwd, path))
  }

  for (const jailKind of jailKinds)
    for (const [language, code] of Object.entries(jobs))
      test(`S1-20: memory at the end of a job is captured: ${language}, ${jailKind}`, async (t) => {
        const outcome = await ran(jailKind, language, code)
        if (!outcome) return t.skip('no wall here supports captures')
        const { status, result, stdout, timeline } = outcome
        assert.deepEqual([status, result, stdout], ['ok', planted.length, 'holds\n'])
        assert.deepEqual([timeline.at(-1).event, timeline.at(-1).reason], ['captured', 'asked'])
        assert.ok((await heldBy(outcome)).includes(planted))
      })

  test('S1-20: a capture holds the profile of its job, and the programs that this host saw it start', async (t) => {
    const code = `import subprocess\ndef main(input):\n    subprocess.run(['/bin/true'])\n    return 1`
    const outcome = await ran(jailKinds[0], 'python', code)
    if (!outcome) return t.skip('no wall here supports captures')
    const { id, profile } = outcome
    const { stdout } = await mayfly(place, ['evidence', 'extract', id, 'whole'])
    const of = (name: string) => {
      const path = stdout.split('\n').find((one) => one.endsWith(name))!
      return JSON.parse(readFileSync(join(place.cwd, path), 'utf8'))
    }
    assert.equal(of('profile.json').digest, profile.digest)
    const { events, timeline } = of('seen.json')
    assert.equal(timeline[0].event, 'phase')
    assert.ok(events['seen/exec'] >= 1, JSON.stringify(events))
  })

  test('S1-20: memory at a timeout is captured too', async (t) => {
    const code = jobs.python.replace('return len(held)', 'import time; time.sleep(60)')
    const outcome = await ran(jailKinds[0], 'python', code, '--timeout', '1s')
    if (!outcome) return t.skip('no wall here supports captures')
    assert.equal(outcome['status'], 'timeout')
    const words = outcome['timeline'].map(({ event: word }: { event: string }) => word)
    assert.deepEqual(words.slice(-2), ['captured', 'terminated'])
    assert.ok((await heldBy(outcome)).includes(planted))
  })

  test('S1-21: an anomaly with the reaction capture leaves a capture, and a calm run leaves none', async (t) => {
    const row = rows.find(({ name }) => name === jailKinds[0])
    if (!row?.available || !row.can.includes('capture-memory'))
      return t.skip('no wall here supports captures')
    writeFileSync(join(place.cwd, 'capturing.toml'), capturing)
    const run = async (code: string) => {
      const args = ['run', '-', '--json', '--language', 'python', '--config', 'capturing.toml']
      return documentOf(await mayfly(place, args, { stdin: code }))
    }
    const calm = await run(jobs.python)
    assert.equal(calm['status'], 'ok')
    assert.equal(calm['evidence'].bundle, null)
    assert.equal((await mayfly(place, ['evidence', 'show', calm['id']])).code, 1)
    const odd = await run(
      jobs.python.replace(
        'return',
        'import os, time; print(os.environ, flush=True); time.sleep(20); return',
      ),
    )
    assert.equal(odd['status'], 'terminated', JSON.stringify(odd['error']))
    assert.equal(odd['tier'], 'process')
    assert.ok((await heldBy(odd)).includes(planted))
    const { captures } = documentOf(await mayfly(place, ['evidence', 'show', odd['id'], '--json']))
    assert.deepEqual(
      captures.map(({ because, name }: StoredCapture) => [because, name]),
      [['anomaly', odd['evidence'].bundle]],
    )
  })

  test('The terminal names the capture, or the reason why there is none', async (t) => {
    const args = ['run', '-', '--capture', '--language']
    const js = await mayfly(place, [...args, 'js'], { stdin: 'return 1' })
    assert.match(js.stderr, /^Nothing was captured: \w.*$/m)
    const row = rows.find(({ name }) => name === jailKinds[0])
    if (!row?.available || !row.can.includes('capture-memory'))
      return t.skip('no wall here supports captures')
    const { stderr } = await mayfly(place, [...args, 'python'], { stdin: 'print(1)' })
    assert.match(stderr, /^Captured [\d.]+ MB: mayfly evidence extract exec_\w+ FOLDER$/m)
  })

  test('A program that exited by itself, and a wall without memory capture, have no capture and a reason', async (t) => {
    const left = await ran(jailKinds[0], 'python', 'import os; os._exit(0)')
    if (left) assert.equal(left['status'], 'ok')
    else t.diagnostic(`no ${jailKinds[0]} that captures memory here: the isolate alone is tried`)
    const args = ['run', '-', '--capture', '--language', 'js', '--json']
    const isolate = documentOf(await mayfly(place, args, { stdin: 'return 1' }))
    if (isolate['status'] === 'unavailable') return t.skip('no isolate here')
    assert.deepEqual([isolate['status'], isolate['tier'], isolate['result']], ['ok', 'isolate', 1])
    for (const outcome of [isolate, ...(left ? [left] : [])]) {
      const { event: word, fields } = outcome['timeline'].at(-1)
      assert.deepEqual([word, fields.kind], ['captured', 'none'])
      assert.ok(fields.why.length > 0)
      assert.equal((await mayfly(place, ['evidence', 'show', outcome['id']])).code, 1)
      const { stdout } = await mayfly(place, ['audit', 'list', '--run', outcome['id']])
      assert.match(stdout, /evidence\/missing/)
    }
  })
})
