import assert from 'node:assert/strict'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'
import { after, suite } from 'node:test'
import { trustFile } from '../../src/config/trust.ts'
import { test } from '../fixtures/drawn.ts'
import { documentOf, makePlace, mayfly, noOrdinaryUser, startServer } from './program.ts'

/** Hostile mayfly.toml of a cloned repository: grants every right that it can. */
const planted = `network = "open"
escalation = { 0 = "isolate" }
[[tenants]]
name = "default"
keys = ["sha256:${'ab'.repeat(32)}"]
[schedules.default]
phases = [{ name = "long", for = "4s" }]
on_anomaly = { high = "record" }
[capability_configs."ccos.io.read-file"]
fs_policy = { ReadOnly = ["/etc"] }
`

suite('An untrusted folder', () => {
  for (const who of ['self', 'ordinary'] as const) {
    const skip = who === 'ordinary' && noOrdinaryUser()
    test(
      `runs none of its programs outside of a wall, whatever PATH says, for ${who === 'self' ? 'this' : 'an ordinary'} user`,
      { skip },
      async () => {
        const place = makePlace(who)
        try {
          const ran = join(place.cwd, 'ran')
          const bins = ['node_modules/.bin', 'bin'].map((name) => join(place.cwd, name))
          for (const folder of bins) plantPrograms(folder, ran)
          writeFileSync(ran, '')
          chmodSync(ran, 0o666)
          writeFileSync(join(place.cwd, 'job.sh'), 'echo 7')
          const PATH = [...bins, 'bin', '.', place.env['PATH']].join(delimiter)
          const { code, stderr } = await mayfly(place, ['run', 'job.sh', '--once'], {
            env: { PATH },
          })
          assert.equal(code, 0, stderr)
          assert.equal(readFileSync(ran, 'utf8'), '')
        } finally {
          place.remove()
        }
      },
    )
  }
})

/** A program for each name of the system's, which notes its call and does the same. */
function plantPrograms(folder: string, ran: string): void {
  mkdirSync(folder, { recursive: true })
  const first = join(folder, 'mayfly-planted')
  const own = '/usr/bin/"${0##*/}"'
  writeFileSync(first, `#!/bin/sh\necho "$0 $*" >> ${ran}\nexec ${own} "$@"\n`, { mode: 0o755 })
  const names = ['/usr/bin', '/usr/sbin'].flatMap((one) => readdirSync(one))
  for (const name of new Set(names)) linkSync(first, join(folder, name))
}

suite('An untrusted mayfly.toml', () => {
  const place = makePlace()
  after(() => place.remove())
  const write = (text: string, name = 'mayfly.toml') => writeFileSync(join(place.cwd, name), text)
  write('return 1', 'job.js')

  const walled = [
    ['run', 'job.js'],
    ['serve', '--port', '0'],
    ['analyze', 'job.js'],
  ]
  const others = [
    ['doctor'],
    ['providers'],
    ['access', 'list'],
    ['audit', 'list'],
    ['keys', 'list'],
  ]
  for (const words of [...walled, ...others, ['policy', 'explain']])
    test(`ends "${words.join(' ')}" with exit code 2 and a list of every line that widens rights`, async () => {
      write(planted)
      const ran = await mayfly(place, words)
      assert.equal(ran.code, 2, ran.stderr)
      for (const line of [
        'mayfly.toml:1:1: network: ',
        'mayfly.toml:2:1: escalation: ',
        'mayfly.toml:5:1: tenants.0.keys: ',
        'mayfly.toml:8:16: schedules.default.on_anomaly.high: ',
        'mayfly.toml:10:1: capability_configs."ccos.io.read-file".fs_policy: ',
      ])
        assert.ok(ran.stderr.includes(line), `${line}\n${ran.stderr}`)
      assert.match(ran.stderr, /mayfly policy trust/)
      assert.equal(ran.stdout, '')
    })

  test('is reported as JSON with its error code, and leaves no record of a job', async () => {
    write(planted)
    const { error } = documentOf(await mayfly(place, ['run', 'job.js', '--json']))
    assert.equal(error.code, 'CONFIG_UNTRUSTED')
    assert.equal(error.details.issues.length, 5)
    assert.deepEqual(
      readdirSync(place.state).filter((name) => name.startsWith('audit')),
      [],
    )
  })

  test('is still validated by policy check, and reported as not trusted', async () => {
    write(planted)
    const plain = await mayfly(place, ['policy', 'check'])
    assert.equal(plain.code, 0)
    assert.match(plain.stdout, /is valid, and is not trusted/)
    const told = documentOf(await mayfly(place, ['policy', 'check', '--json']))
    assert.deepEqual([told['valid'], told['trusted'], told['untrusted'].length], [true, false, 5])
    write('network = "opn"\n')
    assert.equal((await mayfly(place, ['policy', 'check'])).code, 2)
  })

  test('is used if it is named by flag or by variable', async () => {
    write(planted)
    assert.equal((await mayfly(place, ['run', 'job.js', '--config', 'mayfly.toml'])).code, 0)
    const env = { MAYFLY_CONFIG: 'mayfly.toml' }
    assert.equal((await mayfly(place, ['run', 'job.js'], { env })).code, 0)
  })

  test('is used by run and serve once it is trusted, until it changes or its trust is removed', async () => {
    write(planted)
    const trusted = documentOf(await mayfly(place, ['policy', 'trust', '--json']))
    assert.equal(trusted['loosens'].length, 5)
    assert.equal(statSync(trustFile(place.state)).mode & 0o777, 0o600)
    assert.equal(statSync(trustFile(place.state)).uid, statSync(place.state).uid)
    assert.equal((await mayfly(place, ['run', 'job.js'])).code, 0)
    await using server = await startServer(place)
    assert.equal((await server.stop()).code, 0)
    // As root the state folder now belongs to the server's uid.
    assert.equal((await mayfly(place, ['run', 'job.js'])).code, 0)

    write(`${planted}# one byte more\n`)
    assert.equal((await mayfly(place, ['run', 'job.js'])).code, 2)
    const rows = documentOf(await mayfly(place, ['policy', 'trust', '--list', '--json']))
    assert.equal(rows['0'].now, 'changed')
    const again = await mayfly(place, ['policy', 'trust', 'mayfly.toml'])
    assert.match(
      again.stdout,
      /Trusted as it is now: .*mayfly\.toml\n {2}mayfly\.toml:1:1: network/,
    )
    assert.equal(statSync(trustFile(place.state)).uid, statSync(place.state).uid)
    assert.equal((await mayfly(place, ['run', 'job.js'])).code, 0)

    assert.equal((await mayfly(place, ['policy', 'trust', '--remove'])).code, 0)
    assert.equal((await mayfly(place, ['run', 'job.js'])).code, 2)
    assert.equal((await mayfly(place, ['policy', 'trust', '--remove'])).code, 2)
  })

  test('cannot be trusted if it is invalid or missing', async () => {
    write('network = "opn"\n')
    assert.equal((await mayfly(place, ['policy', 'trust'])).code, 2)
    assert.equal((await mayfly(place, ['policy', 'trust', 'nowhere.toml'])).code, 2)
  })

  test('is used without trust if it only narrows rights', async () => {
    write('[limits]\ntimeout = "1s"\n[[tenants]]\nname = "default"\nfloor = "isolate"\n')
    const ran = await mayfly(place, ['run', 'job.js', '--json'])
    assert.equal(documentOf(ran)['status'], 'ok', ran.stderr)
    assert.match(ran.stderr, /Configuration: mayfly\.toml/)
  })

  test('cannot send terminal sequences by its names', async () => {
    write(
      '[capability_configs."a\\u001b[2Jb"]\nfs_policy = { ReadOnly = ["/etc"] }\n"c\\u001b" = 1\n',
    )
    for (const words of [
      ['run', 'job.js'],
      ['policy', 'check'],
    ]) {
      const { stdout, stderr } = await mayfly(place, words)
      assert.ok(!`${stdout}${stderr}`.includes('\x1b'), JSON.stringify(stderr))
    }
  })
})
