import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Command } from 'commander'
import { loadConfig } from '../config/load.ts'
import { openBaselineStore, type StoredBaseline } from '../watch/baseline-store.ts'
import { withObservation, noTrail } from '../watch/trail.ts'
import { register } from './policy.ts'

const folder = mkdtempSync(join(tmpdir(), 'mayfly-propose-'))
const state = join(folder, 'state')
after(() => rmSync(folder, { recursive: true }))

function run(...words: readonly string[]) {
  const seen = { stdout: '', stderr: '', code: 0 }
  const program = new Command('mayfly')
    .option('--json')
    .option('--quiet')
    .option('--config <file>')
    .option('--state <folder>')
  register(program, {
    env: { HOME: folder },
    cwd: folder,
    stdout: (text) => (seen.stdout += text),
    stderr: (text) => (seen.stderr += text),
    exit: (code) => (seen.code = code),
  })
  program.parse(['--state', state, 'policy', ...words], { from: 'user' })
  return seen
}

function learn(effect: string, host: string): void {
  const store = openBaselineStore(join(state, 'baselines.db'))
  const seen = { kind: 'connect', host, port: 443, sent: 1, received: 1, denied: false } as const
  const memory = { kind: 'memory', bytes: 20 * 2 ** 20 } as const
  const trail = [seen, memory].reduce((so, one) => withObservation(so, { seen: one }), noTrail)
  store.learn({ tenant: 'default', name: `effect:${effect}`, code: 'c' }, trail, [])
  store.close()
}

test('Without learned runs there is no proposal, and no file is created', () => {
  const { stdout, stderr, code } = run('propose')
  assert.deepEqual([stdout, stderr, code], ['', 'No baseline has been learned yet\n', 0])
  assert.equal(existsSync(state), false)
})

test('A proposal is valid configuration as printed', () => {
  learn('thumb:v2@"]', 'api.example.com')
  const { stdout } = run('propose', '--effect', 'thumb:v2@"]')
  const file = join(folder, 'mayfly.toml')
  writeFileSync(file, stdout)
  const { config } = loadConfig({ cwd: folder, file, env: { HOME: folder } })
  const [phase] = config.schedules['thumb-v2----used']!.phases
  assert.deepEqual(phase?.controls.network, { allow: ['https://api.example.com:443'], deny: [] })
  assert.equal(phase?.controls.memory, 30 * 2 ** 20)
  rmSync(file)
})

test('S4-54: proposals of effects with similar names are one valid configuration', () => {
  const long = 'l'.repeat(90)
  const effects = ['scale:1', 'scale@1', 'scale-1', `${long}a`, `${long}b`]
  for (const effect of effects) learn(effect, 'api.example.com')
  const file = join(folder, 'similar.toml')
  writeFileSync(file, run('propose').stdout)
  const { config } = loadConfig({ cwd: folder, file, env: { HOME: folder } })
  const names = Object.keys(config.schedules)
  assert.deepEqual(names.filter((name) => name.startsWith('scale')).sort(), [
    'scale-1-used',
    'scale-1-used-2',
    'scale-1-used-3',
  ])
  assert.equal(names.filter((name) => name.startsWith('lll')).length, 2)
  for (const effect of effects) run('learned', '--effect', effect, '--reset')
  rmSync(file)
})

test('A proposal keeps the phases, conditions and reactions of the default schedule that it replaces', () => {
  for (const host of ['a.example', 'b.example']) learn('staged', host)
  const before = join(folder, 'staged.toml')
  writeFileSync(
    before,
    `[schedules.default]
phases = [
  { name = "full", for = "5s", network = { deny = ["DELETE b.example"] }, cpu = 2, terminate_if = 'events["capability/denied"] > 10' },
  { name = "quiet", for = "1m", network = "none", files = { read = ["/data"] }, advance_if = "anomaly.count > 1" },
]
on_anomaly = { low = "tighten", medium = "terminate" }
shorten = 0.25
clock = "cpu"
honeytokens = true
begin_at = { suspect = "quiet" }
channels = [{ from = "main", to = "*", calls = 3 }]
for_origins = ["mcp"]
[schedules.default.zones.names]
function = "check"
phases = [{ name = "only", for = "200ms", memory = "16MB" }]
`,
  )
  const { stdout } = run('--config', before, 'propose', '--effect', 'staged')
  assert.match(stdout, /^# With the phases, conditions and reactions of schedules.default.$/m)
  const after = join(folder, 'staged-used.toml')
  writeFileSync(after, stdout)
  const scheduleIn = (file: string, name: string) =>
    loadConfig({ cwd: folder, file, env: { HOME: folder } }).config.schedules[name]!
  const [was, proposed] = [scheduleIn(before, 'default'), scheduleIn(after, 'staged-used')]
  const { phases } = proposed
  assert.deepEqual(proposed, { ...was, phases, for_origins: [] })
  const used = { allow: ['https://a.example:443'], deny: [] }
  const memory = 30 * 2 ** 20
  assert.deepEqual(
    phases.map(({ controls, ...phase }) => [phase, controls]),
    [
      [
        { name: 'full', for: 5_000, terminate_if: 'events["capability/denied"] > 10' },
        { network: used, cpu: 2, memory, processes: 64, capabilities: [] },
      ],
      [
        { name: 'quiet', for: 60_000, advance_if: 'anomaly.count > 1' },
        {
          network: { allow: [], deny: [] },
          files: { read: ['/data'], write: [] },
          cpu: 2,
          memory,
          processes: 64,
          capabilities: [],
        },
      ],
    ],
  )
  run('learned', '--effect', 'staged', '--reset')
})

test('A proposal that replaces a bound schedule says that jobs of its origins may keep it', () => {
  learn('bound', 'a.example')
  const told = (binding: string) => {
    const file = join(folder, 'bound.toml')
    const phase = '{ name = "full", for = "5s", terminate_if = "anomaly.count > 1" }'
    writeFileSync(file, `[schedules.default]\nphases = [${phase}]\n${binding}`)
    return run('--config', file, 'propose', '--effect', 'bound').stdout
  }
  const kept =
    /^# Jobs to which schedules.default is bound \(for_origins = \["mcp"\]\) may keep it/m
  assert.match(told('for_origins = ["mcp"]'), kept)
  assert.doesNotMatch(told(''), /may keep it/)
  run('learned', '--effect', 'bound', '--reset')
})

test('A proposal lowers zones and later phases that name more than its first phase has, and loads', () => {
  for (const host of ['a.example', 'b.example']) learn('zoned', host)
  const before = join(folder, 'zoned.toml')
  writeFileSync(
    before,
    `[schedules.default]
phases = [
  { name = "full", for = "5s", network = { deny = ["DELETE b.example"] } },
  { name = "last", for = "5s", network = { allow = ["GET b.example", "a.example"] } },
]
[schedules.default.zones.names]
function = "check"
phases = [
  { name = "first", for = "200ms", memory = "64MB", processes = 200, capabilities = ["clock"], network = { allow = ["a.example", "c.example"] } },
  { name = "second", for = "200ms", memory = "16MB" },
]
[schedules.default.zones.open]
function = "other"
phases = [{ name = "only", for = "200ms", network = { deny = ["DELETE a.example", "DELETE b.example"] } }]
`,
  )
  const after = join(folder, 'zoned-used.toml')
  writeFileSync(after, run('--config', before, 'propose', '--effect', 'zoned').stdout)
  const { config } = loadConfig({ cwd: folder, file: after, env: { HOME: folder } })
  const { phases, zones } = config.schedules['zoned-used']!
  const network = { allow: ['https://a.example:443'], deny: [] }
  const memory = 30 * 2 ** 20
  assert.deepEqual(
    phases.map(({ controls }) => controls.network),
    [network, network],
  )
  const controlsOf = (zone: string) => zones[zone]!.phases.map(({ controls }) => controls)
  assert.deepEqual(controlsOf('names'), [
    { memory, processes: 64, capabilities: [], network },
    { memory: 16 * 2 ** 20 },
  ])
  assert.deepEqual(controlsOf('open'), [{ network: { allow: [], deny: [] } }])
  run('learned', '--effect', 'zoned', '--reset')
})

test('A proposal is written to a new file only, never over an existing one', () => {
  const file = join(folder, 'used.toml')
  assert.equal(run('propose', '--write', file).code, 0)
  assert.match(readFileSync(file, 'utf8'), /^# effect:/)
  const again = run('propose', '--write', file)
  assert.equal(again.code, 2)
  assert.match(again.stderr, /^Cannot write "/)
})

test('Learned baselines can be read, frozen and reset', () => {
  learn('hash', 'b.example')
  assert.equal(run('learned', '--freeze').code, 2)
  assert.equal(run('learned', '--effect', 'hash', '--freeze').stderr, '1 frozen\n')
  const [kept] = JSON.parse(run('learned', '--effect', 'hash').stdout) as StoredBaseline[]
  assert.deepEqual([kept?.name, kept?.baseline.frozen], ['effect:hash', true])
  assert.deepEqual(JSON.parse(run('learned', '--effect', 'hash', '--reset', '--json').stdout), {
    changed: 1,
  })
  assert.deepEqual(JSON.parse(run('learned', '--effect', 'hash').stdout), [])
})

test('A change of an effect without a baseline is an error of usage, and one of a frozen baseline is none', () => {
  learn('kept', 'b.example')
  for (const change of ['--freeze', '--reset']) {
    const { code, stderr } = run('learned', '--effect', 'kpet', change)
    assert.deepEqual([code, stderr.split('\n').length], [2, 2], change)
    assert.match(stderr, /tenant "default" has none of effect "kpet"/)
  }
  assert.equal(run('learned', '--effect', 'kept', '--freeze').stderr, '1 frozen\n')
  assert.equal(run('learned', '--effect', 'kept', '--freeze').code, 0)
  const ofStranger = run('propose', '--effect', 'kept', '--tenant', 'defualt')
  assert.equal(ofStranger.code, 2)
  assert.match(ofStranger.stderr, /no tenant "defualt"/)
})

test('A proposal is within the ceilings of the tenant and of the configuration, and names what stays denied', () => {
  for (const host of ['a.example', 'b.example', 'c.example', 'd.example']) learn('many', host)
  const file = join(folder, 'ceilings.toml')
  writeFileSync(
    file,
    `[ceilings]
network = { allow = ["https://a.example", "https://b.example", "https://c.example"] }
[[tenants]]
name = "default"
ceilings = { network = { deny = ["b.example", "DELETE c.example"] } }
`,
  )
  const { stdout } = run('--config', file, 'propose', '--effect', 'many')
  assert.match(
    stdout,
    /network = \{ allow = \["https:\/\/a.example:443", "https:\/\/c.example:443"\] \}/,
  )
  assert.match(stdout, /^# Denied by the configuration.*"DELETE https:\/\/c.example:443"/m)
  rmSync(file)
})
