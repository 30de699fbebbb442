import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { sha256 } from '../lib/hash.ts'
import { loadConfig, type LoadOptions } from './load.ts'
import type { Issue } from './parse.ts'
import { readTrusted, removeTrust, trustConfiguration, trustFile } from './trust.ts'

const base = realpathSync(mkdtempSync(join(tmpdir(), 'mayfly-trust-')))
after(() => rmSync(base, { recursive: true }))
let places = 0

/** Creates a folder with a loose file, and a state folder. */
function place(toml = 'network = "open"\n') {
  const cwd = join(base, String(places++))
  const state = join(cwd, 'state')
  mkdirSync(cwd)
  mkdirSync(state, { mode: 0o700 })
  const file = join(cwd, 'mayfly.toml')
  writeFileSync(file, toml)
  const options: LoadOptions = { cwd, env: { MAYFLY_STATE: state } }
  const trustIt = () =>
    trustConfiguration(state, { path: file, sha256: sha256(readFileSync(file)) }, new Date(0))
  return { cwd, state, file, options, trustIt }
}

function issuesOf(options: LoadOptions): readonly Issue[] {
  try {
    loadConfig(options)
    return []
  } catch (thrown) {
    assert.ok(thrown instanceof MayflyError)
    assert.equal(thrown.code, 'CONFIG_UNTRUSTED', thrown.message)
    return (thrown.details as { issues: readonly Issue[] }).issues
  }
}

test('A found file that loosens is refused with file, line, column and key, until it is trusted; a change revokes the trust', () => {
  const { options, file, trustIt, state } = place('[limits]\ntimeout = "1s"\n  memory = "1GB"\n')
  const [issue, ...others] = issuesOf(options)
  assert.deepEqual(others, [])
  assert.match(issue?.where ?? '', /mayfly\.toml:3:3$/)
  assert.match(issue?.message ?? '', /^limits\.memory: more than the default/)
  trustIt()
  assert.equal(loadConfig(options).config.limits.memory, 2 ** 30)
  assert.equal(statSync(trustFile(state)).mode & 0o777, 0o600)
  writeFileSync(file, '[limits]\nmemory = "2GB"\n')
  assert.equal(issuesOf(options).length, 1)
  trustIt()
  assert.deepEqual(issuesOf(options), [])
  assert.equal(readTrusted(state).length, 1)
  assert.equal(removeTrust(state, file), true)
  assert.equal(issuesOf(options).length, 1)
})

test('A found file that only restricts needs no trust, nor does a named file or an object', () => {
  assert.deepEqual(issuesOf(place('[limits]\ntimeout = "1s"\n').options), [])
  const { options, file } = place()
  assert.deepEqual(issuesOf({ ...options, file }), [])
  assert.deepEqual(issuesOf({ ...options, env: { ...options.env, MAYFLY_CONFIG: file } }), [])
  assert.deepEqual(issuesOf({ ...options, object: { network: 'open' } }), [])
  assert.equal(issuesOf({ ...options, env: { ...options.env, MAYFLY_CONFIG: '' } }).length, 1)
})

test('The environment file beside it is checked separately', () => {
  const { options, cwd } = place('')
  writeFileSync(join(cwd, 'mayfly.dev.toml'), 'network = "open"\n')
  assert.deepEqual(issuesOf(options), [])
  const [issue] = issuesOf({ ...options, env: { ...options.env, MAYFLY_ENV: 'dev' } })
  assert.match(issue?.where ?? '', /mayfly\.dev\.toml:1:1$/)
})

test('A file cannot name the state folder that trusts it', () => {
  const { cwd, options, file } = place('state = "planted"\nnetwork = "open"\n')
  mkdirSync(join(cwd, 'planted'), { mode: 0o700 })
  trustConfiguration(
    join(cwd, 'planted'),
    { path: file, sha256: sha256(readFileSync(file)) },
    new Date(0),
  )
  assert.deepEqual(
    issuesOf(options).map(({ key }) => key),
    ['state', 'network'],
  )
})

const planted: Readonly<Record<string, (list: string, beside: string) => void>> = {
  'a link': (list, beside) => (renameSync(list, beside), symlinkSync(beside, list)),
  'a second name of a file': (list, beside) => linkSync(list, beside),
  'readable by others': (list) => chmodSync(list, 0o644),
  'writable by a group': (list) => chmodSync(list, 0o620),
  'a folder': (list) => (rmSync(list), mkdirSync(list)),
  'no JSON': (list) => writeFileSync(list, '{"format":1,"trusted":['),
  'of another format': (list) =>
    writeFileSync(list, readFileSync(list, 'utf8').replace('"format":1', '"format":2')),
  'beyond its size': (list) =>
    writeFileSync(list, readFileSync(list, 'utf8') + ' '.repeat(2 ** 20)),
}

for (const [what, plant] of Object.entries(planted))
  test(`A planted list of trust that is ${what} trusts nothing`, () => {
    const { state, options, trustIt, cwd } = place()
    trustIt()
    assert.deepEqual(issuesOf(options), [])
    plant(trustFile(state), join(cwd, 'beside'))
    assert.equal(issuesOf(options).length, 1)
  })

test('A state folder writable by others trusts nothing', () => {
  const { state, options, trustIt } = place()
  trustIt()
  chmodSync(state, 0o777)
  assert.equal(issuesOf(options).length, 1)
})

test('Writing trust over a planted link replaces the link, and its target stays unchanged', () => {
  const { state, cwd, options, trustIt } = place()
  const victim = join(cwd, 'victim')
  writeFileSync(victim, 'precious', { mode: 0o600 })
  symlinkSync(victim, trustFile(state))
  trustIt()
  assert.equal(readFileSync(victim, 'utf8'), 'precious')
  assert.deepEqual(issuesOf(options), [])
})

test('If a file is swapped during the check, the text that was judged is the text in force', async () => {
  const { options, file, trustIt, cwd } = place('[limits]\nmemory = "1GB"\n')
  trustIt()
  const swapper = spawn(process.execPath, [
    '-e',
    `const fs = require('node:fs'), texts = ['network = "open"\\n', fs.readFileSync(${JSON.stringify(file)})]
     console.log('ready')
     for (let n = 0; n < 20000; n++) {
       fs.writeFileSync(${JSON.stringify(join(cwd, 'new'))}, texts[n % 2])
       fs.renameSync(${JSON.stringify(join(cwd, 'new'))}, ${JSON.stringify(file)})
     }`,
  ])
  await once(swapper.stdout, 'data')
  for (let round = 0; round < 500; round++) {
    try {
      const { config } = loadConfig(options)
      assert.deepEqual([config.network.allow, config.limits.memory], [[], 2 ** 30])
    } catch (thrown) {
      assert.ok(thrown instanceof MayflyError && thrown.code === 'CONFIG_UNTRUSTED', String(thrown))
    }
  }
  swapper.kill()
  await once(swapper, 'close')
})

test('No more than a thousand files are trusted at once', () => {
  const { state } = place()
  const all = Array.from({ length: 1000 }, (_, at) => ({
    path: `/a/${at}`,
    sha256: 'x',
    since: 'y',
  }))
  writeFileSync(trustFile(state), JSON.stringify({ format: 1, trusted: all }), { mode: 0o600 })
  const one = { path: '/b', sha256: 'x' }
  assert.throws(() => trustConfiguration(state, one, new Date(0)), { code: 'STATE' })
})

test('a link to a trusted file is not trusted: its relative paths would be those of another folder', () => {
  const honest = place('network = "open"\nstate = "./state"\n')
  honest.trustIt()
  const hostile = join(base, 'hostile')
  mkdirSync(hostile)
  symlinkSync(honest.file, join(hostile, 'mayfly.toml'))
  assert.deepEqual(issuesOf(honest.options), [])
  assert.notDeepEqual(issuesOf({ ...honest.options, cwd: hostile }), [])
})
