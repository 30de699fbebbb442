import { after, test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { serverUid } from '../contract/uids.ts'
import { developmentCertificate } from '../gateway/http/development-authority.ts'
import { readAhead } from './policy-trust.ts'
import { register } from './policy.ts'

const folder = mkdtempSync(join(tmpdir(), 'mayfly-policy-'))
after(() => rmSync(folder, { recursive: true }))

/** Runs a policy verb on a configuration text, as the program would. */
function run(words: readonly string[], toml: string, env: Record<string, string> = {}) {
  writeFileSync(join(folder, 'mayfly.toml'), toml)
  const seen = { stdout: '', stderr: '', code: 0 }
  const program = new Command('mayfly')
    .option('--json')
    .option('--quiet')
    .option('--config <file>')
    .option('--state <folder>')
  register(program, {
    // A state folder that is not there: that of root may belong to the server, whose rights then count.
    env: { HOME: folder, XDG_STATE_HOME: join(folder, 'none'), ...env },
    cwd: folder,
    stdout: (text) => (seen.stdout += text),
    stderr: (text) => (seen.stderr += text),
    exit: (code) => (seen.code = code),
  })
  program.parse(['policy', ...words], { from: 'user' })
  return seen
}

test('S4-11: policy check takes a valid file and exits 0', () => {
  const { stdout, stderr, code } = run(['check'], '[server]\nport = 1\n')
  assert.deepEqual([stdout, stderr, code], ['"mayfly.toml" is valid\n', '', 0])
})

test('S4-11: policy check names every fault with file, line and column, and exits 2', () => {
  const toml = '[server]\nport = "x"\n  prot = 1\n'
  const { stdout, stderr, code } = run(['check'], toml)
  assert.equal(code, 2)
  assert.equal(stdout, '')
  assert.deepEqual(stderr.trim().split('\n'), [
    'mayfly.toml:2:1: server.port: expected a whole number from 0 to 65534',
    'mayfly.toml:3:3: server.prot: unknown key "prot"; did you mean "port"?',
  ])
})

test('policy check and explain say of an operand how the file is named, and that all values are printed', () => {
  const { stdout, stderr, code } = run(['check', 'other.toml'], '')
  assert.deepEqual(
    [stdout, stderr, code],
    [
      '',
      'Cannot take "other.toml": "policy check" has no operands; "--config FILE" names the file\n',
      2,
    ],
  )
  const { error } = JSON.parse(run(['explain', 'limits.memory', '--json'], '').stdout)
  assert.equal(error.code, 'USAGE')
  assert.match(error.message, /^Cannot take "limits.memory": .*it prints all values.*--config FILE/)
})

test('policy check calls a date in a file a date, and a missing key missing', () => {
  const { stderr } = run(['check'], 'state = 2020-01-01\n[[tenants]]\nkeys = [12:00:00]\n')
  assert.deepEqual(stderr.trim().split('\n'), [
    'mayfly.toml:1:1: state: expected string, received a date or time',
    'mayfly.toml:2:3: tenants.0.name: missing: expected string',
    'mayfly.toml:3:9: tenants.0.keys.0: expected string, received a date or time',
  ])
})

test('policy check refuses a webhook without a usable secret, and does not wait for one', () => {
  const secret = join(folder, 'secret')
  const toml = `[[webhooks]]\nurl = "https://a.example/"\nsecret_file = "${secret}"\n`
  const refused = (): readonly unknown[] => {
    const { stdout, stderr, code } = run(['check', '--config', 'mayfly.toml'], toml)
    rmSync(secret, { recursive: true, force: true })
    return [stdout, stderr.replace(/^mayfly.toml:3:1: webhooks.0.secret_file: /, ''), code]
  }
  assert.match(String(refused()), /^,ENOENT: .*,2$/s)
  execFileSync('mkfifo', [secret])
  assert.deepEqual(refused(), ['', 'it is no plain file\n', 2])
  mkdirSync(secret)
  assert.deepEqual(refused(), ['', 'it is no plain file\n', 2])
  writeFileSync(secret, 'whsec_c2hvcnQ=')
  assert.match(String(refused()), /^,expected 24 to 64 bytes as base64 after "whsec_"\n,2$/)
  writeFileSync(secret, `whsec_${Buffer.alloc(32).toString('base64')}`)
  assert.deepEqual(refused(), ['"mayfly.toml" is valid\n', '', 0])
  const { issues } = JSON.parse(run(['check', '--json'], toml).stdout)
  assert.deepEqual([issues[0].key, issues[0].line], ['webhooks.0.secret_file', 3])
})

test('policy check warns of the name of a provider that is none of the built-in ones, and lists them', () => {
  const toml = 'default_provider = "bubblewrapp"\n'
  const { stderr, code } = run(['check'], toml)
  assert.match(
    stderr,
    /^Warning: mayfly.toml:1:1: default_provider: .*"bubblewrapp"; did you mean "bubblewrap"\? There are isolated-vm, .*mock\n/,
  )
  assert.equal(code, 0)
  assert.match(JSON.parse(run(['check', '--json'], toml).stdout).warnings[0], /"bubblewrapp"/)
  const spares = '[[spares]]\nprovider = "gvisr"\nlanguage = "python"\ncount = 1\n'
  assert.match(
    run(['check'], spares).stderr,
    /^Warning: .*spares\.0\.provider: .*did you mean "gvisor"/,
  )
  for (const name of ['auto', 'wasi'])
    assert.doesNotMatch(run(['check'], `default_provider = "${name}"\n`).stderr, /Warning/)
  const modules = '[providers]\nmodules = ["own.mjs"]\n'
  const own = ['', modules].map((more) => run(['check'], `default_provider = "own"\n${more}`))
  assert.match(own[0]!.stderr, /no built-in/)
  assert.deepEqual([own[1]!.code, /no built-in/.test(own[1]!.stderr)], [0, false])
})

test('policy check refuses a certificate and a key that are missing, are none, or do not belong together', () => {
  const [own, other] = [1, 2].map((n) =>
    developmentCertificate(join(folder, `tls${n}`), Date.now()),
  )
  const at = (name: string, text?: string) => {
    const file = join(folder, name)
    if (text !== undefined) writeFileSync(file, text)
    return file
  }
  const [cert, key, junk] = [at('cert', own!.cert), at('key', own!.key), at('junk', 'junk')]
  const check = (...[tls_cert, tls_key]: readonly string[]) => {
    const toml = `[server]\ntls_cert = "${tls_cert}"\ntls_key = "${tls_key}"\n`
    const { stdout, stderr, code } = run(['check', '--config', 'mayfly.toml'], toml)
    assert.deepEqual([stdout === '', code], [stderr !== '', stderr === '' ? 0 : 2])
    return stderr.replaceAll(/^mayfly\.toml:|(?<=: )error:.*|(?<=ENOENT: ).*/gm, '')
  }
  assert.equal(check(cert, key), '')
  assert.equal(
    check(at('gone'), folder),
    '2:1: server.tls_cert: ENOENT: \n3:1: server.tls_key: it is no plain file\n',
  )
  assert.equal(
    check(junk, junk),
    '2:1: server.tls_cert: expected a certificate with its chain, as PEM: \n' +
      '3:1: server.tls_key: expected a private key as PEM without a passphrase: \n',
  )
  assert.equal(
    check(cert, at('other', other!.key)),
    '3:1: server.tls_key: expected the key of the certificate: \n',
  )
  execFileSync('mkfifo', [at('pipe')])
  assert.equal(check(cert, at('pipe')), '')
})

test('policy check warns of an address off loopback without TLS, which a server refuses', () => {
  const check = (more: string) => run(['check'], `[server]\n${more}\n`)
  assert.match(
    check('host = "0.0.0.0"').stderr,
    /^Warning: mayfly\.toml:2:1: server\.host: expected "tls_cert"/,
  )
  const named = ['insecure_http = true', 'tls_dev = true'].map((key) => `host = "0.0.0.0"\n${key}`)
  for (const more of ['host = "::1"', ...named]) {
    const { stdout, stderr } = check(more)
    assert.match(stdout, /^"mayfly\.toml" is valid/)
    assert.doesNotMatch(stderr, /Warning/)
  }
})

test('policy check warns of a key that the server may not read', (context) => {
  const state = join(folder, 'state-of-server')
  mkdirSync(state)
  const isRoot = process.getuid?.() === 0
  if (isRoot) {
    // Otherwise closed to the server.
    chmodSync(folder, 0o711)
    chownSync(state, serverUid, serverUid)
    context.after(() => chmodSync(folder, 0o700))
  }
  const { cert, key } = developmentCertificate(join(folder, 'tls3'), Date.now())
  writeFileSync(join(folder, 'cert3'), cert, { mode: 0o644 })
  writeFileSync(join(folder, 'key3'), key, { mode: isRoot ? 0o600 : 0o000 })
  const toml = '[server]\ntls_cert = "cert3"\ntls_key = "key3"\n'
  const words = ['check', '--config', 'mayfly.toml', '--state', state]
  const { stdout, stderr, code } = run(words, toml)
  assert.match(stderr, /^Warning: mayfly\.toml:3:1: server\.tls_key: EACCES: [^\n]*\n$/)
  assert.deepEqual(
    [stdout, code, process.geteuid?.()],
    ['"mayfly.toml" is valid\n', 0, process.getuid?.()],
  )
})

test('policy check warns of provider modules, programs and tenants that are not there', () => {
  const here = join(folder, 'tool')
  writeFileSync(here, '')
  const toml = [
    '[providers]\nfolder = "none"\nmodules = ["none.mjs"]',
    '[[mcp.servers]]\nname = "a"\ncommand = ["pyhton3"]\ntenants = ["defualt", "robots", "page"]',
    `[[mcp.servers]]\nname = "b"\ncommand = ["${here}"]\ntenants = ["default"]`,
    '[schedules.default]\nphases = [{ name = "a", for = "5s" }]',
    '[schedules.default.zones.z]\nphases = [{ name = "a", for = "5s", memory = "9MB" }]',
    `program = ["sh", "bsah", "py*", "${here}", "${here}s"]\n`,
  ].join('\n')
  const { stdout, stderr, code } = run(['check', '--config', 'mayfly.toml'], toml)
  assert.deepEqual([stdout, code], ['"mayfly.toml" is valid\n', 0])
  const module = (name: string) =>
    `Cannot use the provider module "${folder}/${name}": it does not exist`
  const zone = ': the zone applies only to one of an image or a job'
  assert.deepEqual(stderr.replaceAll('Warning: mayfly.toml:', '').trim().split('\n'), [
    `3:12: providers.modules.0: ${module('none.mjs')}`,
    `2:1: providers.folder: ${module('none')}`,
    '7:12: mcp.servers.0.tenants.0: [[tenants]] has no "defualt"; did you mean "default"?',
    '7:23: mcp.servers.0.tenants.1: [[tenants]] has no "robots": one that only keys name?',
    '6:1: mcp.servers.0.command: this machine has no program "pyhton3"',
    `16:1: schedules.default.zones.z.program: this machine has no program "bsah"${zone}`,
    `16:1: schedules.default.zones.z.program: this machine has no program "${here}s"${zone}`,
  ])
})

test('Attack: no value of a file prints an escape sequence or a line of its own in check, explain and surface', () => {
  const evil = String.raw`\u001b[2J\n\u202e"mayfly.toml\" is valid`.replace('"mayfly', '\\"mayfly')
  const phase = `{ name = "${evil}", for = "5s", terminate_if = ${JSON.stringify('life.phase == "none"')} }`
  const schedule = `[schedules.default]\nphases = [${phase}]\n`
  for (const [words, toml] of [
    ['check', `"${evil}" = 1`],
    ['check', `default_provider = "${evil}"`],
    ['check', schedule],
    ['check', `[[mcp.servers]]\nname = "a"\ncommand = ["${evil}"]`],
    ['explain', schedule],
    ['surface', schedule],
  ] as const) {
    const { stdout, stderr } = run([words], `${toml}\n`)
    const shown = stdout + stderr
    const told = words === 'check' ? stderr : stdout
    assert.match(told, /\\x1b\[2J\\n\\u202e/, words)
    assert.doesNotMatch(shown.replaceAll('\n', ''), /[\p{Cc}\u202e]/u, words)
  }
})

test('with --json a valid and an invalid configuration are each one document on stdout', () => {
  const good = run(['check', '--json'], '', { MAYFLY_NO_SUCH_THING: '1' })
  assert.deepEqual(JSON.parse(good.stdout), {
    valid: true,
    trusted: true,
    files: ['mayfly.toml'],
    issues: [],
    untrusted: [],
    warnings: ['Unknown variable "MAYFLY_NO_SUCH_THING"'],
  })
  const bad = run(['check', '--json'], 'x = 1\n')
  const document = JSON.parse(bad.stdout) as { valid: boolean; issues: { line: number }[] }
  assert.deepEqual(
    [document.valid, document.issues[0]?.line, bad.stderr, bad.code],
    [false, 1, '', 2],
  )
})

test('As root, policy trust reads the file of its argument, whatever flags name', () => {
  const [asked, other] = ['asked.toml', 'other.toml'].map((name) => join(folder, name)) as [
    string,
    string,
  ]
  for (const file of [asked, other]) writeFileSync(file, '')
  try {
    for (const argv of [
      ['policy', 'trust', '--config', other, asked],
      ['policy', 'trust', '--state', folder, '--config', other, '--json', asked],
      ['--state', 'trust', 'policy', 'trust', asked],
      ['policy', 'trust', asked, `--config=${other}`],
      ['policy', 'trust', '--', asked],
      ['policy', 'trust', '--config', other, '--', asked],
      ['policy', '--', 'trust', asked],
    ]) {
      readAhead(argv)
      const read = JSON.parse(process.env['MAYFLY_TRUSTING'] ?? '') as { path: string }
      assert.equal(read.path, realpathSync(asked), argv.join(' '))
    }
  } finally {
    delete process.env['MAYFLY_TRUSTING']
  }
})

test('S4-14: policy explain prints each value with its origin', () => {
  const toml = '[limits]\nmemory = "64MB"\n'
  const { stdout, code } = run(['explain'], toml, { MAYFLY_PORT: '9' })
  const rows = stdout.split('\n').map((row) => row.split(/ {2,}/))
  const row = (field: string) => rows.find(([name]) => name === field)
  assert.equal(code, 0)
  assert.deepEqual(row('limits.memory'), ['limits.memory', '64MB', 'mayfly.toml:2'])
  assert.deepEqual(row('limits.timeout'), ['limits.timeout', '5s', 'default'])
  assert.deepEqual(row('server.port'), ['server.port', '9', 'MAYFLY_PORT'])
  const whole = JSON.parse(run(['explain', '--json'], toml).stdout)
  const values: readonly { readonly field: string; readonly origin?: string }[] = whole.values
  assert.ok(values.length > 50 && values.length === rows.length - 1, `${values.length}`)
  for (const { field, origin } of values)
    assert.equal(origin, field === 'limits.memory' ? 'mayfly.toml:2' : 'default', field)
})

test('policy explain --json has the same values in milliseconds and bytes', () => {
  const { stdout } = run(['explain', '--json', '--state', '/elsewhere'], '')
  const { values } = JSON.parse(stdout) as { values: { field: string; value: unknown }[] }
  assert.deepEqual(
    values.find(({ field }) => field === 'limits.memory'),
    { field: 'limits.memory', value: 128 * 2 ** 20, origin: 'default' },
  )
  assert.deepEqual(
    values.find(({ field }) => field === 'state'),
    { field: 'state', value: '/elsewhere', origin: '--state' },
  )
})

test('policy explain of an invalid configuration exits 2', () => {
  const { code, stdout } = run(['explain'], 'default_provider = 5\n')
  assert.deepEqual([code, stdout], [2, ''])
})

const shrinking = `[schedules.default]
phases = [
  { name = "full", for = "5s" },
  { name = "one-host", for = "3s", network = { allow = ["https://a.example"] } },
  { name = "no-exec", for = "2s", network = "none", cpu = 0.5, syscalls = ["process", "network", "outside", "write"] },
]
`

test('S2-26: policy surface lists what each phase of a schedule reaches, and what the next one lacks', () => {
  const words = [
    'surface',
    '--config',
    join(folder, 'mayfly.toml'),
    '--allow',
    'a.example',
    'b.example',
  ]
  const { stdout, code } = run(words, shrinking)
  assert.equal(code, 0)
  for (const line of [
    /^full: 0 s to 5 s$/m,
    /^ {2}hosts +https:\/\/a\.example:443, https:\/\/b\.example:443$/m,
    /^one-host: 5 s to 8 s\n {2}hosts +https:\/\/a\.example:443$/m,
    /^no-exec: 8 s to 10 s\n {2}hosts +none$/m,
    /^ {2}system calls +\d+, \d+ of them in part; closed: exec$/m,
    /^ {2}gone: execve execveat$/m,
    /^10 s: nothing; the life is over$/m,
    /^No phase reaches more than the phase before it$/m,
  ])
    assert.match(stdout, line)
})

test('S2-26: policy surface has the same as JSON, for each wall, and counts that only fall', () => {
  for (const wall of ['process', 'isolate']) {
    const { stdout, code } = run(
      ['surface', '--config', join(folder, 'mayfly.toml'), '--wall', wall, '--json'],
      shrinking,
    )
    assert.equal(code, 0)
    const { phases, grows } = JSON.parse(stdout)
    assert.deepEqual(grows, [])
    const counts = phases.map(({ calls }: { calls: { reachable: number } }) => calls.reachable)
    assert.deepEqual(
      counts,
      counts.toSorted((a: number, b: number) => b - a),
    )
    assert.equal(counts[0] > counts[2], wall === 'process')
  }
})

test('policy surface reports an unknown schedule, and that a wall without a sentinel cannot close calls', () => {
  const { stderr, code } = run(
    ['surface', '--config', join(folder, 'mayfly.toml'), '--schedule', 'other'],
    shrinking,
  )
  assert.deepEqual([stderr, code], ['Cannot find the schedule "other"\n', 2])
  const { stdout } = run(
    ['surface', '--config', join(folder, 'mayfly.toml'), '--no-sentinel'],
    shrinking,
  )
  assert.match(stdout, /^ {2}not enforced +exec: without a sentinel the job is terminated here$/m)
})

test('with --json an error of usage is one document on stdout, with its code', () => {
  for (const words of [
    ['simulate', '--egress', 'http://a.example', '--allow', '::bad'],
    ['learned', '--effect', 'none', '--reset', '--freeze'],
    ['surface', '--schedule', 'other'],
  ]) {
    const { stdout, stderr, code } = run([...words, '--json'], '')
    assert.equal(code, 2)
    const { error } = JSON.parse(stdout)
    assert.equal(error.code, 'USAGE')
    assert.match(error.message, /^Cannot /)
    assert.equal(stderr, '')
  }
})
