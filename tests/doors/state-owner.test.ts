import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { systemClock } from '../../src/contract/clock.ts'
import { createCustody } from '../../src/evidence/custody.ts'
import { exportRows } from '../../src/evidence/export.ts'
import { openRecord } from '../../src/evidence/record.ts'
import { openBaselineStore } from '../../src/watch/baseline-store.ts'
import { noTrail, withObservation } from '../../src/watch/trail.ts'
import { after, before, drawn, makeDraw, suite, test } from '../fixtures/drawn.ts'
import { event } from '../fixtures/record.ts'
import { makePlace, mayfly, noOrdinaryUser, type Place } from './program.ts'

/** Commands of root on a state folder of the server's uid, which a compromised server may have prepared. */
const uid = 52_000
const run = `exec_${'a'.repeat(32)}`

suite('As root, with a state folder of the server', { skip: noOrdinaryUser() }, () => {
  let place: Place
  before(async () => {
    place = makePlace()
    writeFileSync(join(place.cwd, 'job.js'), 'return 1')
    assert.equal((await mayfly(place, ['run', 'job.js'])).code, 0)
    await keepCapture(place.state)
    learn(place.state, 'thumb')
    giveAll(place.state)
    // Not accessible to the server, like the home of root.
    chownSync(place.cwd, 0, 0)
    chmodSync(place.cwd, 0o700)
    await trustAKey(place)
    assert.equal((await mayfly(place, ['access', 'create'])).code, 0)
  })
  after(() => place.remove())

  const commands: readonly (readonly string[])[] = [
    ['policy', 'learned'],
    ['policy', 'learned', '--effect', 'thumb', '--freeze'],
    ['policy', 'propose'],
    ['policy', 'propose', '--write', 'proposed.toml'],
    ['audit', 'list'],
    ['audit', 'verify'],
    ['audit', 'export'],
    ['audit', 'export', 'log.jsonl'],
    ['evidence', 'list'],
    ['evidence', 'show', run],
    ['evidence', 'verify', run],
    ['evidence', 'extract', run, 'found'],
    ['evidence', 'extract', run, '-'],
    ['access', 'list'],
    ['access', 'create'],
    ['keys', 'list'],
    ['keys', 'verify', 'job.js', '--signature', 'job.js.sig'],
  ]

  test('every command on its stores works, and acts with the rights of the owner only', async () => {
    const tried = drawn(commands, 'commands')
    for (const words of tried) {
      const ran = await mayfly(place, words)
      assert.equal(ran.code, 0, `${words.join(' ')}: ${ran.stdout}${ran.stderr}`)
    }
    for (const name of readdirSync(place.state))
      assert.equal(statSync(join(place.state, name)).uid, uid, name)
    const written = ['proposed.toml', 'log.jsonl', 'found']
    for (const name of written.filter((one) => tried.some((words) => words.at(-1) === one))) {
      assert.equal(statSync(join(place.cwd, name)).uid, 0, name)
      rmSync(join(place.cwd, name), { recursive: true })
    }
    await withMode(place.state, 0o000, async () => {
      for (const words of tried) {
        const ran = await mayfly(place, words)
        const isOpen = ran.code === 0 && !/null|^\[\]$|No |Nothing /m.test(ran.stdout + ran.stderr)
        assert(!isOpen, `${words.join(' ')}: ${ran.stdout}${ran.stderr}`)
      }
    })
  })

  test('a failure of the process that acts as the owner is reported with its own message', async () => {
    const unknown = `exec_${'b'.repeat(32)}`
    const { code, stderr } = await mayfly(place, ['evidence', 'extract', unknown, 'found'])
    assert.equal(code, 1)
    assert.match(stderr, /^mayfly: Cannot find .*exec_b/)
  })

  test('a global flag before the verb, a repeated flag, or a link to the folder does not change that', async () => {
    const link = join(place.cwd, '..', 'linked-state')
    symlinkSync(place.state, link)
    const elsewhere = join(place.cwd, 'elsewhere')
    mkdirSync(elsewhere)
    await withMode(place.state, 0o000, async () => {
      for (const words of [
        ['--state', place.state, 'access', 'create'],
        ['access', 'create', '--state', elsewhere, '--state', place.state],
        ['access', 'create', '--state', link],
        ['--state', link, 'audit', 'list'],
        ['--json', '--state', place.state, 'policy', 'learned'],
      ]) {
        const ran = await mayfly(place, words)
        assert.notEqual(`${ran.code} ${ran.stdout.slice(0, 4)}`, '0 mfy_', words.join(' '))
        assert(ran.code !== 0 || ran.stdout === '[]\n', `${words.join(' ')}: ${ran.stdout}`)
      }
    })
    assert.deepEqual(readdirSync(elsewhere), [])
  })

  test('words after "--" reach the process of the owner, and name the file that root reads', async () => {
    assert.equal((await mayfly(place, ['keys', 'generate', 'b.key'])).code, 0)
    const key = readFileSync(join(place.cwd, 'b.key.pub'), 'utf8').trim()
    const trusted = await mayfly(place, ['keys', 'trust', '--name', 'bob', '--', key])
    assert.equal(trusted.code, 0, trusted.stderr)
    assert.match((await mayfly(place, ['keys', 'list'])).stdout, /bob/)
    writeFileSync(join(place.cwd, 'loose.toml'), '[limits]\nmemory = "1GB"\n')
    for (const words of [
      ['policy', 'trust', '--', 'loose.toml'],
      ['policy', '--', 'trust', 'loose.toml'],
    ]) {
      const { code, stdout, stderr } = await mayfly(place, words)
      assert.equal(code, 0, `${words.join(' ')}: ${stderr}`)
      assert.match(stdout, /^Trusted as it is now: .*loose\.toml$/m)
    }
    for (const name of readdirSync(place.state))
      assert.equal(statSync(join(place.state, name)).uid, uid, name)
  })

  test('verification still uses the signer of root: a log truncated at its end is bad', async () => {
    const before = await mayfly(place, ['audit', 'verify'])
    assert.deepEqual([before.code, before.stderr], [0, ''], before.stdout)
    const log = join(place.state, 'audit.db')
    copyFileSync(log, `${log}.kept`)
    const db = new DatabaseSync(log)
    db.exec('DELETE FROM checkpoints; DELETE FROM audit WHERE seq > 0')
    db.close()
    giveAll(place.state)
    const cut = await mayfly(place, ['audit', 'verify'])
    assert.equal(cut.code, 1, cut.stdout)
    renameSync(`${log}.kept`, log)
    giveAll(place.state)
  })

  for (const name of ['baselines.db', 'audit.db', 'bodies.db', 'keys.json', 'signers.json'])
    test(`a link in place of ${name} is not followed, and its target is unchanged`, async () => {
      const file = join(place.state, name)
      const target = join(place.state, '..', `theirs-${name}`)
      copyFileSync(file, target)
      chownSync(target, 0, 0)
      chmodSync(target, 0o644)
      await instead(
        file,
        () => symlinkSync(target, file),
        async () => {
          const all = commands.filter(([verb]) => verb === verbOf[name])
          const isNext = makeDraw(name, all.length)
          for (const words of all.filter(isNext)) {
            const ran = await mayfly(place, words)
            assert.notEqual(ran.code, 0, `${words.join(' ')}: ${ran.stdout}`)
          }
        },
      )
      assert.equal(statSync(target).mode & 0o777, 0o644)
      assert.equal(statSync(target).uid, 0)
    })

  test('a FIFO in place of a store blocks no command', async () => {
    for (const name of ['baselines.db', 'audit.db', 'keys.json']) {
      const file = join(place.state, name)
      await instead(
        file,
        () => execFileSync('mkfifo', [file]),
        async () => {
          const [words] = commands.filter(([verb]) => verb === verbOf[name])
          const ran = await mayfly(place, words!)
          assert.notEqual(ran.code, 0, ran.stdout)
        },
      )
    }
  })

  test('a FIFO in place of the rollback journal of a store blocks no command', async () => {
    for (const name of ['baselines.db', 'audit.db']) {
      const file = join(place.state, `${name}-journal`)
      execFileSync('mkfifo', [file])
      lchownSync(file, uid, uid)
      const [words] = commands.filter(([verb]) => verb === verbOf[name])
      const { code, signal, stderr } = await mayfly(place, words!)
      rmSync(file)
      assert.equal(signal, null)
      assert.notEqual(code, 0)
      assert.match(stderr, /-journal" is no regular file/)
    }
  })

  test('a link in place of the WAL of a store is not followed', async () => {
    const target = join(place.state, '..', 'their-wal')
    writeFileSync(target, 'theirs')
    const file = join(place.state, 'baselines.db-wal')
    rmSync(file, { force: true })
    symlinkSync(target, file)
    lchownSync(file, uid, uid)
    await mayfly(place, ['policy', 'learned'])
    rmSync(file, { force: true })
    assert.equal(readFileSync(target, 'utf8'), 'theirs')
  })

  test('names that the server wrote are printed escaped: no line of TOML, no terminal sequence', async () => {
    const hostile = 'x\n[[tenants]]\nname = "evil"\n\u001b]0;owned\u0007\u202e'
    learn(place.state, hostile, 'api.example.com')
    giveAll(place.state)
    const proposed = await mayfly(place, ['policy', 'propose', '--effect', hostile])
    assert.equal(proposed.code, 0, proposed.stderr)
    assert.doesNotMatch(proposed.stdout, /^\[\[tenants\]\]/m)
    for (const words of [
      ['policy', 'propose'],
      ['policy', 'propose', '--json'],
      ['policy', 'learned'],
    ]) {
      const { stdout } = await mayfly(place, words)
      assert.match(stdout, /owned/)
      assert.doesNotMatch(stdout, /[^\P{Cc}\n]|\p{Bidi_Control}/u, words.join(' '))
    }
  })

  test(
    'an export of which the disk takes a part fails, and leaves no file',
    { skip: noMounts() },
    async () => {
      const state = join(place.state, '..', 'exported')
      const record = openRecord({ stateFolder: state, clock: systemClock })
      let [length, lastLength, pages] = [0, 0, 0]
      while (pages * pageBytes <= length - lastLength) {
        record.append(event({ point: 'access/created', fields: {} }), 'acme')
        const rows = [...exportRows(join(state, 'audit.db'))]
        length = rows.join('').length
        lastLength = rows.at(-1)!.length
        pages = Math.floor((length - 1) / pageBytes)
      }
      await record.close()
      chownSync(state, uid, uid)
      giveAll(state)
      const small = join(place.state, '..', 'small')
      mkdirSync(small)
      const mount = `mount -t tmpfs -o nr_blocks=${pages} none "$0" && "$@"; code=$?; ls "$0"; exit $code`
      for (const [words, left] of [
        [[join(small, 'log.jsonl')], ''],
        [['--quiet'], 'stdout'],
      ] as const) {
        const shell = left === '' ? mount : mount.replace('"$@"', '"$@" > "$0/stdout"')
        const become = ['unshare', '--mount', '--', 'sh', '-c', shell, small]
        const line = ['audit', 'export', '--state', state, ...words]
        const { code, stdout, stderr } = await mayfly({ ...place, become }, line)
        assert.equal(code, 1, stdout)
        assert.match(stderr, /^mayfly: Cannot write .*ENOSPC/m)
        assert.equal(stdout.trim(), left)
      }
    },
  )

  test('a field with a line end forges no row of a list', async () => {
    const state = join(place.state, '..', 'forged')
    const record = openRecord({ stateFolder: state, clock: systemClock })
    const forged = 'x\n99  2026-01-01T00:00:00.000Z  ended  -  acme  ok  9 ms'
    record.append(event({ point: forged as 'access/created', fields: {} }), 'acme')
    await record.close()
    chownSync(state, uid, uid)
    giveAll(state)
    const { stdout } = await mayfly(place, ['audit', 'list', '--state', state])
    assert.match(stdout, /x\\n99/)
    assert.doesNotMatch(stdout, /^99 /m)
  })
})

/** Block of a tmpfs. */
const pageBytes = Number(spawnSync('getconf', ['PAGESIZE']).stdout) || 4096

/** Reason why no file system can be mounted here, or false. */
function noMounts(): string | false {
  const words = ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt']
  return spawnSync('unshare', words).status === 0 ? false : 'mounts need more rights'
}

const verbOf: Readonly<Record<string, string>> = {
  'baselines.db': 'policy',
  'audit.db': 'audit',
  'bodies.db': 'evidence',
  'keys.json': 'access',
  'signers.json': 'keys',
}

/** Replaces a file for a while, as a compromised server could. */
async function instead(file: string, plant: () => void, work: () => Promise<void>): Promise<void> {
  renameSync(file, `${file}.kept`)
  plant()
  lchownSync(file, uid, uid)
  try {
    await work()
  } finally {
    unlinkSync(file)
    renameSync(`${file}.kept`, file)
  }
}

async function trustAKey(place: Place): Promise<void> {
  assert.equal((await mayfly(place, ['keys', 'generate', 'a.key'])).code, 0)
  const sign = ['keys', 'sign', 'job.js', '--key', 'a.key', '--out', 'job.js.sig']
  assert.equal((await mayfly(place, sign)).code, 0)
  const key = readFileSync(join(place.cwd, 'a.key.pub'), 'utf8').trim()
  assert.equal((await mayfly(place, ['keys', 'trust', key, '--name', 'ann'])).code, 0)
}

async function withMode(folder: string, mode: number, work: () => Promise<void>): Promise<void> {
  chmodSync(folder, mode)
  try {
    await work()
  } finally {
    chmodSync(folder, 0o700)
  }
}

function giveAll(state: string): void {
  for (const name of readdirSync(state)) lchownSync(join(state, name), uid, uid)
}

function learn(state: string, effect: string, host = 'example.com'): void {
  const store = openBaselineStore(join(state, 'baselines.db'))
  const seen = { kind: 'connect', host, port: 443, sent: 1, received: 1, denied: false } as const
  const trail = withObservation(noTrail, { seen })
  store.learn({ tenant: 'default', name: `effect:${effect}`, code: 'c' }, trail, [])
  store.close()
}

async function keepCapture(state: string): Promise<void> {
  const record = openRecord({ stateFolder: state, clock: systemClock })
  const { keep } = createCustody({
    bodies: () => record.bodies,
    now: () => Date.now(),
    tell: (point, fields, { run: of, tenant, actor }) =>
      void record.append(event({ point, fields, actor, run: of }), tenant),
  })
  const parts = [{ name: 'memory.bin', bytes: [Buffer.from('held')] }]
  await keep({ run, tenant: 'default', because: 'operator' }, { kind: 'memory', parts })
  await record.close()
}
