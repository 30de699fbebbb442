import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { after, suite, test } from 'node:test'
import { MayflyClient } from '../../src/sdk/client.js'
import { signerFolder, wardenFolder } from '../../src/lib/state-folder.ts'
import { tarEnd, tarEntry, tarHeaderBlock } from '../../src/lib/tar.ts'
import {
  documentOf,
  makePlace,
  mayfly,
  noOrdinaryUser,
  startServer,
  type Place,
} from './program.ts'

suite('The state folder', () => {
  const place = makePlace()
  after(() => place.remove())
  const at = (name: string) => join(place.cwd, name)
  const on = (words: readonly string[], state = place.state) =>
    mayfly(place, ['--state', state, ...words])
  const restored = (name: string): Place => {
    const state = join(dirname(place.state), name)
    return { ...place, state, env: { ...place.env, MAYFLY_STATE: state } }
  }

  test('is backed up while jobs run, and goes on where it is restored: API keys hold, and the record is signed by the same key', async () => {
    {
      await using server = await startServer(place)
      const client = new MayflyClient({ url: server.active, key: server.apiKey })
      writeFileSync(at('key'), server.apiKey)
      await client.run({ code: 'return 1' })
      const done = new AbortController()
      const running = (async () => {
        while (!done.signal.aborted) await client.run({ code: 'return 2' })
      })()
      const made = await on(['state', 'backup', at('hot.tar'), '--keys', at('hot.key'), '--json'])
      done.abort()
      await running
      assert.equal(made.code, 0, made.stderr)
      assert.ok(documentOf(made)['bytes'] > 0)
      await server.stop()
    }
    const elsewhere = restored('elsewhere')
    const back = await on(
      ['state', 'restore', at('hot.tar'), '--keys', at('hot.key')],
      elsewhere.state,
    )
    assert.equal(back.code, 0, back.stderr)
    await using server = await startServer(elsewhere)
    const client = new MayflyClient({ url: server.active, key: readFileSync(at('key'), 'utf8') })
    assert.equal((await client.run({ code: 'return 3' })).result, 3)
    await server.stop()
    const { ok, lines, unsigned } = documentOf(
      await on(['audit', 'verify', '--json'], elsewhere.state),
    )
    assert.deepEqual([ok, lines > 4, unsigned], [true, true, 0])
    const checked = documentOf(await on(['state', 'check', '--json'], elsewhere.state))
    assert.equal(checked['ok'], true)
    assert.doesNotMatch(JSON.stringify(readdirSync(dirname(elsewhere.state))), /restoring/)
  })

  test('is restored without the signing key only to begin another record', async () => {
    const state = restored('keyless').state
    const refused = await on(['state', 'restore', at('hot.tar')], state)
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /without the key that signed it\n.*--keys FILE; or --new-record/)
    assert.ok(!existsSync(state))
    assert.equal((await on(['state', 'restore', at('hot.tar'), '--new-record'], state)).code, 0)
    const ran = await mayfly(restored('keyless'), ['run', '-', '--once'], { stdin: 'return 1' })
    assert.doesNotMatch(ran.stderr, /not signed/)
    for (const file of [[], [join(state, 'former-audit.db')]])
      assert.equal((await on(['audit', 'verify', ...file], state)).code, 0)
  })

  test('is not overwritten, nor continued with a key that is ahead of its backup', async () => {
    const full = await on(['state', 'restore', at('hot.tar'), '--keys', at('hot.key')])
    assert.match(
      full.stderr,
      /^mayfly: Cannot restore to .* it is not empty\n.*move the folder away/,
    )
    renameSync(place.state, `${place.state}.away`)
    try {
      const ahead = await on(['state', 'restore', at('hot.tar')])
      assert.match(
        ahead.stderr,
        /it is signed up to line \d+, and the key in .* has signed line \d+/,
      )
      const second = await on(['state', 'restore', at('hot.tar'), '--keys', at('hot.key')])
      assert.match(second.stderr, /has one already\n.*Move that folder away/)
      assert.ok(!existsSync(place.state))
    } finally {
      rmSync(place.state, { recursive: true, force: true })
      renameSync(`${place.state}.away`, place.state)
    }
  })

  test('is not restored from an archive that is damaged, incomplete or made by somebody else; nothing is left', async () => {
    const whole = readFileSync(at('hot.tar'))
    const flipped = Buffer.from(whole)
    const middle = whole.indexOf('SQLite format 3') + 5000
    flipped[middle] = flipped[middle]! ^ 1
    const file = (path: string) => tarEntry({ path, bytes: Buffer.from('x'), modifiedMs: 0 })
    const link = tarHeaderBlock('keys.json', {
      mode: 0o600,
      size: 0,
      seconds: 0,
      type: '2',
      target: '/etc/passwd',
      magic: 'ustar\x0000',
    })
    const cases: Record<string, readonly Uint8Array[]> = {
      flipped: [flipped],
      truncated: [whole.subarray(0, whole.length / 2)],
      added: [...file('signers.json'), whole],
      nameless: [...file('audit.db'), tarEnd],
      foreign: [...file('a-folder/x.db'), tarEnd],
      hidden: [...file('.profile'), tarEnd],
      linked: [link, tarEnd],
      text: [Buffer.from('no archive at all')],
    }
    for (const [name, parts] of Object.entries(cases)) {
      const archive = at(`${name}.tar`)
      writeFileSync(archive, Buffer.concat(parts))
      const { state } = restored(name)
      const { code, stderr } = await on(
        ['state', 'restore', archive, '--keys', at('hot.key')],
        state,
      )
      assert.equal(code, 1, `${name}: ${stderr}`)
      assert.match(stderr, /^mayfly: Cannot restore .*nothing was changed\.$/ms, name)
      const beside = readdirSync(dirname(state)).filter((one) => one.startsWith(basename(state)))
      assert.deepEqual(beside, [], name)
    }
    const wrong = documentOf(
      await on(['state', 'restore', at('hot.tar'), '--keys', at('hot.tar'), '--json']),
    )
    assert.ok(wrong['error'])
  })

  test('is restored with what an archive says of itself escaped', async () => {
    const manifest = {
      format: 1,
      kind: 'mayfly-state',
      at: '\x1b[2J',
      version: '1\n\x9b',
      stores: [],
    }
    const bytes = Buffer.from(JSON.stringify(manifest))
    const parts = [...tarEntry({ path: 'manifest.json', bytes, modifiedMs: 0 }), tarEnd]
    writeFileSync(at('said.tar'), Buffer.concat(parts))
    const { state } = restored('said')
    const { code, stderr } = await on(['state', 'restore', at('said.tar')], state)
    assert.equal(code, 0, stderr)
    assert.match(stderr, /^backup of: \\x1b\[2J, Mayfly 1\\n\\x9b$/m)
  })

  test('Attack: root restores to no folder where another user could plant a link', async (t) => {
    if (noOrdinaryUser()) return t.skip('needs root')
    const { state } = restored('theirs/state')
    mkdirSync(dirname(state))
    for (const [uid, mode] of [
      [12_345, 0o755],
      [0, 0o777],
    ] as const) {
      chownSync(dirname(state), uid, 0)
      chmodSync(dirname(state), mode)
      const words = ['state', 'restore', at('hot.tar'), '--keys', at('hot.key')]
      const { mtimeMs } = statSync(dirname(state))
      const { code, stderr } = await on(words, state)
      // The time of the folder shows that it had no staging folder, either.
      const left = [readdirSync(dirname(state)), statSync(dirname(state)).mtimeMs]
      assert.deepEqual([code, ...left], [1, [], mtimeMs], stderr)
      assert.match(stderr, /as root: ".*theirs" belongs to uid 12345|everybody may write to/)
    }
  })

  for (const who of ['self', 'ordinary'] as const)
    test(`Attack: a folder or link that another user put in its place, or beside it, is not used by ${who === 'self' ? 'root' : 'an ordinary user'}`, async (t) => {
      if (noOrdinaryUser()) return t.skip('needs root')
      const own = makePlace(who)
      const theirs = join(dirname(own.state), 'theirs')
      mkdirSync(theirs)
      for (const folder of [theirs, dirname(own.state)]) chmodSync(folder, 0o1777)
      chownSync(theirs, 12_346, 12_346)
      try {
        for (const [name, isLink] of [
          ['at', false],
          ['at', true],
          ['at-warden', false],
          ['at-warden', true],
        ] as const) {
          const planted = join(dirname(own.state), name)
          if (isLink) symlinkSync(theirs, planted)
          else mkdirSync(planted)
          lchownSync(planted, 12_346, 12_346)
          chmodSync(planted, 0o777)
          const env = { MAYFLY_STATE: join(dirname(own.state), 'at') }
          const { code, stderr } = await mayfly(own, ['run', '-'], { env, stdin: 'return 1' })
          assert.notEqual(code, 0, planted)
          assert.match(stderr, /belongs to uid 12346/)
          assert.deepEqual(readdirSync(planted), [])
          for (const one of ['at', 'at-warden'])
            rmSync(join(dirname(own.state), one), { recursive: true, force: true })
        }
      } finally {
        own.remove()
      }
    })

  test('is checked store by store, and a damaged one is named', async () => {
    const state = restored('elsewhere').state
    const path = join(state, 'keys.json')
    writeFileSync(path, readFileSync(path, 'utf8').slice(1))
    const { code, stdout } = await on(['state', 'check'], state)
    assert.equal(code, 1)
    assert.match(stdout, /^keys\.json .* bad: /m)
    assert.match(stdout, /^audit\.db +record of jobs +\d+ +ok: \d+ lines, 0 not signed$/m)
    rmSync(join(state, 'audit.db'))
    const gone = await on(['state', 'check', '--json'], state)
    assert.equal(gone.code, 1)
    assert.match(gone.stdout, /"why": ?"missing"/)
    assert.ok(existsSync(join(signerFolder(state))) && existsSync(wardenFolder(state)))
  })
})
