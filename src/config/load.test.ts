import { after, test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { explainConfig } from './explain.ts'
import { loadConfig, type LoadOptions } from './load.ts'
import type { Issue } from './parse.ts'
import { variableWarnings } from './variables.ts'

const folders: string[] = []
after(() => folders.forEach((folder) => rmSync(folder, { recursive: true })))

/** Creates a folder with these files, and options to load from it. */
function place(files: Readonly<Record<string, string>>, env: LoadOptions['env'] = {}): LoadOptions {
  const cwd = mkdtempSync(join(tmpdir(), 'mayfly-config-'))
  folders.push(cwd)
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text)
  // Named explicitly, so that no trust is needed; trust.test.ts covers files found in the folder.
  const named = 'mayfly.toml' in files && { file: 'mayfly.toml' }
  return { cwd, env: { HOME: cwd, ...env }, ...named }
}

function issuesOf(options: LoadOptions): readonly Issue[] {
  try {
    loadConfig(options)
  } catch (error) {
    assert.ok(error instanceof MayflyError)
    assert.equal(error.code, 'CONFIG')
    return (error.details as { issues: readonly Issue[] }).issues
  }
  return assert.fail('the configuration was taken')
}

const where = (options: LoadOptions) => issuesOf(options).map((issue) => issue.where)

test('S4-32: with no configuration at all, nothing is granted and the limits are modest', () => {
  const { config, files, warnings } = loadConfig(place({}))
  assert.deepEqual(files, [])
  assert.deepEqual(warnings, [])
  assert.deepEqual(config.network, { allow: [], deny: [] })
  assert.deepEqual(config.limits, {
    timeout: 5000,
    memory: 128 * 2 ** 20,
    cpu: 1,
    processes: 64,
    disk: 64 * 2 ** 20,
    output: 2 ** 20,
    result: 4 * 2 ** 20,
    artifacts: 16 * 2 ** 20,
  })
  assert.equal(config.default_provider, 'auto')
  assert.equal(config.server.drain, 5000)
  assert.deepEqual(config.escalation.at(-1), { at: 95, to: 'block' })
  assert.deepEqual(
    config.tenants.map(({ name }) => name),
    ['default'],
  )
})

test('S4-11, S4-37: the published example file is read unchanged', () => {
  const options = place({
    'microvm.toml': `# microvm.toml
default_provider = "mock"

[capability_configs."ccos.network.http-fetch"]
timeout = "30s"
memory_limit_mb = 64
cpu_limit = 0.3
network_policy = { AllowList = ["api.github.com", "httpbin.org"] }
fs_policy = "None"
`,
  })
  const { config } = loadConfig({ ...options, file: 'microvm.toml' })
  assert.equal(config.default_provider, 'mock')
  assert.deepEqual(config.capability_configs['ccos.network.http-fetch'], {
    timeout: 30_000,
    memory_limit_mb: 64,
    cpu_limit: 0.3,
    network_policy: {
      allow: [
        'http://api.github.com:80',
        'http://httpbin.org:80',
        'https://api.github.com:443',
        'https://httpbin.org:443',
      ],
      deny: [],
    },
    fs_policy: { read: [], write: [] },
  })
})

test('S4-11: an unknown key is an error that names file, line, column and the nearest known key', () => {
  const [issue] = issuesOf(place({ 'mayfly.toml': '[server]\n  prot = 1\n' }))
  assert.equal(issue?.where, 'mayfly.toml:2:3')
  assert.equal(issue?.message, 'server.prot: unknown key "prot"; did you mean "port"?')
})

test('an unknown name is an error at its position, with the list of known names', () => {
  const toml = '[[schedules."no programs".phases]]\nname = "all"\nfor = "1s"\n'
  const [issue] = issuesOf(place({ 'mayfly.toml': toml }))
  assert.match(issue!.where, /^mayfly\.toml:1:/)
  assert.match(issue!.message, /no programs: invalid name: expected a name: 64 letters/)
})

test('every issue is reported at its own position', () => {
  const toml = `colour = "red"
limits = { memory = "lots" }
[[tenants]]
name = "acme"
keys = [
  "sha256:abc",
]
[escalation]
40 = "process"
60 = "isolate"
`
  assert.deepEqual(where(place({ 'mayfly.toml': toml })).sort(), [
    'mayfly.toml:10:1',
    'mayfly.toml:1:1',
    'mayfly.toml:2:12',
    'mayfly.toml:6:3',
  ])
})

test('memory of no byte, or of more bytes than a number has, is an error at its place', () => {
  const toml = `limits = { memory = 0 }
[ceilings]
memory = "0MB"
[capability_configs."math.add"]
memory_limit_mb = 1e-9
[[tenants]]
name = "a"
ceilings = { memory = 0.1 }
`
  const least = 'expected at least 1 byte'
  const told = issuesOf(place({ 'mayfly.toml': toml })).map((one) => `${one.where}: ${one.message}`)
  assert.deepEqual(told.sort(), [
    `mayfly.toml:1:12: limits.memory: ${least}`,
    `mayfly.toml:3:1: ceilings.memory: ${least}`,
    `mayfly.toml:5:1: capability_configs.math.add.memory_limit_mb: ${least}`,
    `mayfly.toml:8:14: tenants.0.ceilings.memory: ${least}`,
  ])
  const [huge] = issuesOf(place({ 'mayfly.toml': '[limits]\nmemory = 1e400\n' }))
  assert.equal(huge?.where, 'mayfly.toml:2:1')
  assert.match(huge.message, /^limits\.memory: expected a size of 1024GB at most: whole bytes/)
})

test('invalid TOML is an error with line and column', () => {
  const [issue] = issuesOf(place({ 'mayfly.toml': 'a = 1\nb = = 2\n' }))
  assert.deepEqual([issue?.line, issue?.column], [2, 5])
})

test('a date in place of a table is an error at its key', () => {
  const toml = 'limits = 2020-01-01\n[[tenants]]\nname = "a"\nceilings = 10:00:00\n'
  const message = 'expected a table, received a date or time'
  assert.deepEqual(
    issuesOf(place({ 'mayfly.toml': toml })).map((one) => [one.line, one.column, one.message]),
    [
      [1, 1, `limits: ${message}`],
      [4, 1, `tenants.0.ceilings: ${message}`],
    ],
  )
})

test('a phase looser than the one before it is an error at its key', () => {
  const phases = `[schedules.default]
phases = [
  { name = "one", for = "1s", cpu = 0.5, network = { allow = ["a.example"] } },
  { name = "two", for = "1s" },
  { name = "three", for = "1s", network = { allow = ["b.example"] }, cpu = 0.6 },
]
[schedules.default.zones.compute]
phases = [
  { name = "one", for = 5, files = "none" },
  { name = "two", for = 5, files = { read = ["/"] } },
]
`
  assert.deepEqual(where(place({ 'mayfly.toml': phases })), [
    'mayfly.toml:5:33',
    'mayfly.toml:5:70',
    'mayfly.toml:10:28',
  ])
})

test('a misspelt name of a built-in capability is a warning, and one that no capability can have an error', () => {
  const text = (name: string) =>
    `[capability_configs."${name}"]\ntimeout = "1s"\n[schedules.bound]\nfor_capabilities = ["${name}"]\nphases = [{ name = "a", for = "1s" }]\n`
  const loaded = (name: string) => loadConfig(place({ 'mayfly.toml': text(name) }))
  assert.deepEqual(loaded('ccos.network.http-fetch').warnings, [])
  assert.deepEqual(loaded('acme.invoices').warnings, [])
  const message =
    'no built-in capability has the name "ccos.network.http-fecth"; did you mean "ccos.network.http-fetch"?'
  assert.deepEqual(
    loaded('ccos.network.http-fecth').warnings.map((warning) => warning.includes(message)),
    [true, true],
  )
  const lines = where(place({ 'mayfly.toml': text('ccos.network.http-fetch ') }))
  assert.deepEqual(lines, ['mayfly.toml:1:21', 'mayfly.toml:4:21'])
})

test('unsupported settings are refused, never ignored', () => {
  const toml = '[[rules]]\nname = "r"\nwhen = "true"\nset = { image = "x" }\n'
  const [issue] = issuesOf(place({ 'mayfly.toml': toml }))
  assert.match(issue?.message ?? '', /not supported yet/)
  assert.equal(issue?.line, 1)
})

test('a key hash belongs to one tenant, and a tenant is named once', () => {
  const key = `sha256:${'a'.repeat(64)}`
  const tenant = `[[tenants]]\nname = "acme"\nkeys = ["${key}"]\n`
  assert.deepEqual(where(place({ 'mayfly.toml': tenant + tenant })), [
    'mayfly.toml:5:1',
    'mayfly.toml:6:9',
  ])
})

test('two receivers of webhooks with one URL are refused, two paths of one host are not', () => {
  const receiver = (path: string) =>
    `[[webhooks]]\nurl = "https://alerts.example/${path}"\nsecret_file = "${path}.secret"\n`
  assert.deepEqual(where(place({ 'mayfly.toml': receiver('a') + receiver('a') })), [
    'mayfly.toml:1:3',
  ])
  const { config } = loadConfig(place({ 'mayfly.toml': receiver('a') + receiver('b') }))
  assert.equal(config.webhooks.length, 2)
})

test('a credential that no request could carry is refused, and so is a second one of its name', () => {
  const of = ({ header = 'authorization', host = 'a.example' }) =>
    `[[credentials]]\nname = "one"\nenv = "X"\nheader = "${header}"\nhosts = ["b.example", "${host}"]\n`
  const at = (text: string) => where(place({ 'mayfly.toml': text }))
  assert.deepEqual(at(of({ host: 'not a host!!' })), ['mayfly.toml:5:23'])
  assert.deepEqual(at(of({ host: 'https://a.example/v1/*' })), ['mayfly.toml:5:23'])
  assert.deepEqual(at(of({ host: 'GET a.example' })), ['mayfly.toml:5:23'])
  assert.deepEqual(at(of({ header: 'Host' })), ['mayfly.toml:4:1'])
  assert.equal(at(of({}) + of({ host: 'c.example' })).length, 1)
  const two = of({}) + of({ host: 'c.example' }).replace('"one"', '"two"')
  assert.ok(loadConfig(place({ 'mayfly.toml': two })))
  for (const host of ['*.a.example:*', 'https://a.example/', 'http://a.example:8080'])
    assert.ok(loadConfig(place({ 'mayfly.toml': of({ host }) })))
})

test('S4-14: the same code in three environments, each value with its origin', () => {
  const files = {
    'mayfly.toml': 'default_provider = "mock"\n[server]\nport = 1000\nhost = "::1"\n',
    'mayfly.test.toml': '[server]\nport = 2000\n',
    'mayfly.production.toml': 'default_provider = "auto"\n\n[server]\nport = 3000\n',
  }
  const seen = ['development', 'test', 'production'].map((environment) => {
    const loaded = loadConfig(place(files, { MAYFLY_ENV: environment }))
    const rows = explainConfig(loaded)
    return ['default_provider', 'server.port', 'server.host', 'server.drain'].map((field) => {
      const row = rows.find((one) => one.field === field)
      return `${String(row?.value)} from ${row?.origin}`
    })
  })
  assert.deepEqual(seen, [
    [
      'mock from mayfly.toml:1',
      '1000 from mayfly.toml:3',
      '::1 from mayfly.toml:4',
      '5000 from default',
    ],
    [
      'mock from mayfly.toml:1',
      '2000 from mayfly.test.toml:2',
      '::1 from mayfly.toml:4',
      '5000 from default',
    ],
    [
      'auto from mayfly.production.toml:1',
      '3000 from mayfly.production.toml:4',
      '::1 from mayfly.toml:4',
      '5000 from default',
    ],
  ])
})

test('S4-14: a file of another spelling of the environment is a warning, as it is not read', () => {
  const warned = (MAYFLY_ENV: string, ...names: readonly string[]) => {
    const files = names.map((name) => [`mayfly.${name}.toml`, 'limits.timeout = 1'] as const)
    const set = MAYFLY_ENV ? { MAYFLY_ENV } : {}
    const { warnings, config } = loadConfig(
      place({ 'mayfly.toml': '', ...Object.fromEntries(files) }, set),
    )
    return [config.limits.timeout, ...warnings]
  }
  const unread = (name: string, why: string) => [
    5000,
    `mayfly.${name}.toml: not read, because ${why}`,
  ]
  assert.deepEqual(
    warned('Production', 'production'),
    unread('production', 'MAYFLY_ENV is "Production"'),
  )
  assert.deepEqual(warned('PROD', 'production'), unread('production', 'MAYFLY_ENV is "PROD"'))
  assert.deepEqual(warned('Staging', 'staging'), unread('staging', 'MAYFLY_ENV is "Staging"'))
  assert.deepEqual(warned('', 'development'), unread('development', 'MAYFLY_ENV is not set'))
  assert.deepEqual(warned('production', 'prod'), unread('prod', 'MAYFLY_ENV is "production"'))
  assert.deepEqual(warned('production', 'production', 'prod'), [1])
  assert.deepEqual(warned('test', 'production', 'development'), [5000])
  assert.deepEqual(warned('', 'test', 'production'), [5000])
})

test('S4-14: production refuses the mock as default provider', () => {
  const files = { 'mayfly.toml': 'default_provider = "mock"\n' }
  assert.deepEqual(where(place(files, { MAYFLY_ENV: 'production' })), ['mayfly.toml:1:1'])
  assert.deepEqual(where(place(files, { MAYFLY_ENV: 'Production' })), ['mayfly.toml:1:1'])
  assert.deepEqual(where(place(files, { MAYFLY_ENV: 'PROD' })), ['mayfly.toml:1:1'])
  assert.deepEqual(where(place({}, { MAYFLY_ENV: 'prod', MAYFLY_DEFAULT_PROVIDER: 'mock' })), [
    'MAYFLY_DEFAULT_PROVIDER',
  ])
})

test('variables win over files, and flags over variables', () => {
  const options = place(
    { 'mayfly.toml': '[server]\nport = 1\nhost = "a"\ndrain = 1\n' },
    { MAYFLY_PORT: '2', MAYFLY_DRAIN: '2s' },
  )
  const loaded = loadConfig({ ...options, flags: { '--port': '3', '--host': undefined } })
  assert.deepEqual(
    [loaded.config.server.port, loaded.config.server.drain, loaded.config.server.host],
    [3, 2000, 'a'],
  )
  assert.equal(loaded.originOf(['server', 'port']).label, '--port')
  assert.equal(loaded.originOf(['server', 'drain']).label, 'MAYFLY_DRAIN')
  assert.equal(loaded.originOf(['server', 'host']).label, 'mayfly.toml:3')
})

test('a wrong variable or flag is an error that names it', () => {
  assert.deepEqual(where(place({}, { MAYFLY_PORT: 'many' })), ['MAYFLY_PORT'])
  assert.deepEqual(where({ ...place({}), flags: { '--port': 99_999 } }), ['--port'])
  assert.deepEqual(where(place({}, { MAYFLY_ENV: '../etc' })), ['MAYFLY_ENV'])
})

test('an unknown MAYFLY_ variable is a warning with the nearest known name', () => {
  const { warnings } = loadConfig(place({}, { MAYFLY_PROT: '1', MAYFLY_ENVIRONMENT_NAME_X: 'x' }))
  assert.deepEqual(warnings, [
    'Unknown variable "MAYFLY_ENVIRONMENT_NAME_X"',
    'Unknown variable "MAYFLY_PROT"; did you mean "MAYFLY_PORT"?',
  ])
})

test('no variable of the reference is unknown', () => {
  const reference = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
  const names = [...reference.matchAll(/^\| `(MAYFLY_\w+)` \|/gm)].map(([, name]) => name!)
  assert.ok(names.includes('MAYFLY_TEMPLATES'))
  assert.deepEqual(variableWarnings(Object.fromEntries(names.map((name) => [name, 'off']))), [])
})

test('only MAYFLY_ENV brings in the file of an environment', () => {
  const files = { 'mayfly.development.toml': '[server]\nport = 1\n' }
  assert.equal(loadConfig(place(files)).config.server.port, 7420)
  assert.equal(loadConfig(place(files, { MAYFLY_ENV: 'development' })).config.server.port, 1)
})

test('a missing file is an error if it was named, and no error for the default name', () => {
  assert.throws(() => loadConfig({ ...place({}), file: 'other.toml' }), { code: 'CONFIG' })
  assert.throws(() => loadConfig(place({}, { MAYFLY_CONFIG: 'other.toml' })), { code: 'CONFIG' })
  assert.equal(loadConfig(place({}, { MAYFLY_CONFIG: '' })).files.length, 0)
})

test('a file that is there and cannot be followed is an error, not a missing file', () => {
  for (const [name, env] of [
    ['mayfly.toml', {}],
    ['mayfly.staging.toml', { MAYFLY_ENV: 'staging' }],
  ] as const)
    for (const target of ['nowhere.toml', name, 'nowhere.toml/x', `${name}/x`]) {
      const options = place({}, env)
      symlinkSync(target, join(options.cwd, name))
      assert.deepEqual(
        issuesOf(options).map(({ file }) => file?.endsWith(name)),
        [true],
      )
    }
})

test('a file that is not a regular file is an error, and blocks nothing', () => {
  const makes: readonly ((at: string) => void)[] = [
    (at) => void execFileSync('mkfifo', [at]),
    (at) => symlinkSync('/dev/zero', at),
    (at) => symlinkSync('/dev/tty', at),
    (at) => mkdirSync(at),
  ]
  for (const make of makes) {
    const options = place({})
    make(join(options.cwd, 'mayfly.toml'))
    assert.match(issuesOf(options)[0]!.message, /plain file|device/)
  }
  const long = place({ 'mayfly.toml': '#'.repeat(2 ** 20 + 1) })
  assert.match(issuesOf(long)[0]!.message, /at most 1 MiB/)
})

test('a NUL in the name of a file or in a command is an error at its key', () => {
  const command = '[[mcp.servers]]\nname = "a"\ncommand = ["a", "b\\u0000"]'
  const toml = `state = "a\\u0000b"\n[server]\ntls_cert = "\\u0000"\ntls_key = "k"\n${command}\n`
  assert.deepEqual(where(place({ 'mayfly.toml': toml })).sort(), [
    'mayfly.toml:1:1',
    'mayfly.toml:3:1',
    'mayfly.toml:7:17',
  ])
})

test('a file that is not UTF-8 is an error with the first such line', () => {
  const utf16 = Buffer.from('\ufeff[limits]\ncpu = 1\n', 'utf16le')
  const cut = Buffer.from('# €\ncpu = 1 # €').subarray(0, -1)
  for (const [bytes, line] of [
    [Buffer.from('[limits]\r\n# caf\xe9\r\n# \xe9\r\n', 'latin1'), 2],
    [utf16, 1],
    [cut, 2],
  ] as const) {
    const options = place({ 'mayfly.toml': '' })
    writeFileSync(join(options.cwd, 'mayfly.toml'), bytes)
    const [issue] = issuesOf(options)
    assert.equal(issue!.message, 'expected text in UTF-8')
    assert.deepEqual([issue!.where, issue!.line], [`mayfly.toml:${line}`, line])
  }
})

test('tables that are too deep by the dots of a key are an error with the line', () => {
  const deep = 'a.'.repeat(1000)
  for (const text of [`${deep}b = 1`, `[${deep}b]`, `[[${deep}b]]`, `a = { ${deep}b = 1 }`]) {
    const [issue, ...more] = issuesOf(place({ 'mayfly.toml': `# first\n${text}\n` }))
    assert.equal(issue!.message, 'expected at most 64 levels of tables')
    assert.deepEqual([issue!.where, issue!.line, more], ['mayfly.toml:2', 2, []])
  }
  const table = `[${'a.'.repeat(40)}b]\n`
  const halves = issuesOf(place({ 'mayfly.toml': `${table}${'a.'.repeat(40)}b = 1\n` }))
  assert.deepEqual([halves[0]!.where, halves.length], ['mayfly.toml', 1])
})

test('a named FIFO is read from its writer, and blocks nothing without one', () => {
  const options = { ...place({}), file: 'pipe' }
  const at = join(options.cwd, 'pipe')
  execFileSync('mkfifo', [at])
  const load = `import { loadConfig } from ${JSON.stringify(import.meta.resolve('./load.ts'))}
    try { console.log(loadConfig(${JSON.stringify(options)}).config.server.port) }
    catch (error) { console.log(error.message) }`
  // SIGKILL ends a process that is blocked in open(2), so that the test fails instead.
  const bounds = { encoding: 'utf8', timeout: 60_000, killSignal: 'SIGKILL' } as const
  const told = (command: string) =>
    execFileSync('sh', ['-c', command, process.execPath, load, at], bounds).trim()
  const node = 'exec "$0" --input-type=module -e "$1"'
  assert.match(told(node), /: it is a pipe that nothing was written to$/)
  assert.equal(told(`{ echo '[server]'; echo 'port = 7'; } >"$2" & ${node}`), '7')
})

test('a configured escalation replaces the default, in each file anew', () => {
  const options = place(
    {
      'mayfly.toml': '[escalation]\n0 = "isolate"\n30 = "process"\n',
      'mayfly.test.toml': '[escalation]\n50 = "microvm"\n',
    },
    { MAYFLY_ENV: 'test' },
  )
  assert.deepEqual(loadConfig(options).config.escalation, [{ at: 50, to: 'microvm' }])
})

test('a configured network replaces the other form and does not mix with it', () => {
  const options = place(
    {
      'mayfly.toml': 'network = { allow = ["a.example"] }\n',
      'mayfly.test.toml': 'network = { deny = ["b.example"] }\n',
    },
    { MAYFLY_ENV: 'test' },
  )
  assert.equal(loadConfig(options).config.network.allow, 'any')
})

test('the configuration is deeply frozen, and `default` is its first tenant', () => {
  const options = place({ 'mayfly.toml': '[[tenants]]\nname = "acme"\nfloor = "process"\n' })
  const { config } = loadConfig(options)
  assert.deepEqual(
    config.tenants.map(({ name }) => name),
    ['default', 'acme'],
  )
  assert.throws(() => Object.assign(config.tenants[1]!.ceilings, { cpu: 9 }), TypeError)
})

test('secrets are masked where values are explained', () => {
  const key = 'mfy_0123456789abcdef0123456789abcdef'
  const toml = `[[tenants]]\nname = "acme"\nkeys = ["sha256:${'ab'.repeat(32)}"]\n`
  const loaded = loadConfig(place({ 'mayfly.toml': toml }, { MAYFLY_API_KEY: key }))
  const rows = explainConfig(loaded)
  assert.deepEqual(loaded.adminKey, { key, variable: 'MAYFLY_API_KEY' })
  const own = loadConfig(place({}, { MAYFLY_API_KEY: 'other', MAYFLY_ADMIN_KEY: key }))
  assert.deepEqual(own.adminKey, { key, variable: 'MAYFLY_ADMIN_KEY' })
  assert.ok(!JSON.stringify(rows).includes(key))
  assert.deepEqual(rows.at(-1), { field: 'api_key', value: '***', origin: 'MAYFLY_API_KEY' })
  assert.deepEqual(
    rows.find(({ field }) => field === 'tenants.acme.keys'),
    { field: 'tenants.acme.keys', value: ['sha256:abababab…'], origin: 'mayfly.toml:3' },
  )
})

test('the state folder is absolute: beside the file that names it, else by user', () => {
  const options = place({ 'mayfly.toml': 'state = "here"\n' })
  assert.equal(loadConfig(options).config.state, join(options.cwd, 'here'))
  assert.equal(
    loadConfig({ ...options, flags: { '--state': 'there' } }).config.state,
    join(options.cwd, 'there'),
  )
  const { config } = loadConfig(place({}, { XDG_STATE_HOME: '/x/state' }))
  assert.equal(config.state, '/x/state/mayfly')
})

test('paths of provider modules are absolute: beside the file that names them', () => {
  const toml = '[providers]\nfolder = "walls"\nmodules = ["one.js", "/opt/two.js"]'
  const options = place({ 'mayfly.toml': toml })
  assert.deepEqual(loadConfig(options).config.providers, {
    folder: join(options.cwd, 'walls'),
    modules: [join(options.cwd, 'one.js'), '/opt/two.js'],
  })
  const object = { providers: { folder: 'walls' } }
  const given = loadConfig({ cwd: options.cwd, env: options.env, object }).config.providers
  assert.deepEqual(given, { folder: join(options.cwd, 'walls'), modules: [] })
})

test('a library may give an object in place of a file', () => {
  const options = place({ 'mayfly.toml': 'default_provider = "file"\n' })
  const { config } = loadConfig({ ...options, object: { limits: { timeout: '1s' } } })
  assert.equal(config.default_provider, 'auto')
  assert.equal(config.limits.timeout, 1000)
  assert.deepEqual(where({ ...options, object: { limit: {} } }), ['options'])
  assert.deepEqual(where({ ...options, object: JSON.parse('{"__proto__": {"x": 1}}') }), [
    'options',
  ])
})

test('a certificate comes with its key, and not beside a development authority', () => {
  const toml = (lines: string) => place({ 'mayfly.toml': `[server]\n${lines}\n` })
  assert.deepEqual(where(toml('tls_cert = "a.pem"')), ['mayfly.toml:2:1'])
  assert.deepEqual(where(toml('tls_key = "a.key"')), ['mayfly.toml:2:1'])
  const both = 'tls_cert = "a.pem"\ntls_key = "a.key"'
  assert.deepEqual(where(toml(`${both}\ntls_dev = true`)), ['mayfly.toml:4:1'])
  assert.equal(loadConfig(toml(both)).config.server.tls_key, 'a.key')
})
