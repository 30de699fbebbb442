import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, suite } from 'node:test'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import type { ExaminedProvider } from '../../src/cli/doctor.ts'
import { test } from '../fixtures/drawn.ts'

const root = join(import.meta.dirname, '../..')
const bin = join(root, 'bin/mayfly.js')
const withoutSeccomp = join(root, 'tests/walls/fixtures/no-seccomp.js')
const facts = findJailFacts()
const folder = mkdtempSync(join(tmpdir(), 'mayfly-doctor-'))
chmodSync(folder, 0o777)
after(() => rmSync(folder, { recursive: true, force: true }))

const walls = ['network', 'files', 'memory', 'cpu', 'processes', 'time', 'secrets', 'objects']
const isLong = process.env['MAYFLY_LONG'] !== undefined
/** Deadline of a doctor that hangs: under load it takes two minutes where gVisor is available. */
const doctorMsMax = 600_000
let states = 0

/** Without gVisor, which takes as long as all others together and is tried once, on the unchanged host. */
const quick = ['isolated-vm', 'wasi', 'bubblewrap', 'embedded']
const trials = ['network', 'files', 'memory', 'cpu', 'processes', 'time', 'kernel']
trials.push('artifacts', 'secrets', 'leftovers')

suite('mayfly doctor reports what its trials found', { skip: unable() }, () => {
  let tried: ReturnType<typeof doctor> | undefined
  /** Tries every wall of this machine once, for all tests that read the report. */
  const here = () => (tried ??= doctor())

  test('on this host every available wall was tried, and held', () => {
    const { status, report } = here()
    const isolates = isolatesIn(report)
    assert.deepEqual(
      isolates.held.map(({ wall, held }) => [wall, held]),
      walls.map((wall) => [wall, true]),
    )
    assert.deepEqual([notHeld(report), status], [[], 0])
    assert.equal(report.machine.root, facts.root)
    assert.equal(report.machine.landlock, facts.landlock)
    // The server of root has another uid, and starts no machine.
    // A shell would make a file that is missing, so it is asked only where there is one.
    const ofShell = () => spawnSync('sh', ['-c', 'exec 3<> /dev/kvm']).status === 0
    const access = existsSync('/dev/kvm') ? (ofShell() ? 'open' : 'closed') : null
    assert.equal(report.machine.kvm, access)
    assert.deepEqual(isolates.missing.some(isAbout('namespaces')), !facts.namespaces)
  })

  test('on this host the layers it reports, present and missing, equal those of mayfly providers', () => {
    const { stdout } = run(['providers', '--json'])
    const rows = JSON.parse(stdout) as ExaminedProvider[]
    assert.ok(rows.some(({ layers }) => layers?.length))
    const told = ({ name, layers, missing }: ExaminedProvider) => [name, layers, missing]
    assert.deepEqual(rows.map(told), here().report.providers.map(told))
  })

  test('hostile programs were run on each process wall, and each was contained', (t) => {
    const processes = here().report.providers.filter(
      ({ tier, available }) => tier === 'process' && available,
    )
    if (processes.length === 0) return t.skip('no process wall here')
    for (const { held, missing } of processes) {
      const languages = missing.some(isAbout('python')) ? ['node'] : ['node', 'python']
      const rows = languages.flatMap((one) => trials.map((wall) => `${one}: ${wall}`))
      const ofPrograms = held.filter(({ wall }) => wall.includes(': '))
      assert.deepEqual(
        ofPrograms.map(({ wall }) => wall),
        rows,
      )
      assert.deepEqual(
        ofPrograms.filter((one) => !one.held),
        [],
      )
      const memory = ofPrograms.find(({ wall }) => wall === 'node: memory')
      assert.match(memory?.by ?? '', /^(cgroup|watch)$/)
    }
  })

  test('without unshare and bubblewrap the text output has a line per wall with its layers and the missing ones', () => {
    const { status, stdout } = run(['doctor', ...quick], {
      env: { PATH: dirname(process.execPath) },
    })
    assert.equal(status, 0)
    assert.doesNotMatch(stdout, /^ {2}✗/m)
    const [isolates = ''] = /^isolated-vm \(isolate\)\n(?: {2}.*\n)+/m.exec(stdout) ?? []
    for (const wall of walls) assert.match(isolates, new RegExp(`^  ✓ ${wall} `, 'm'))
    assert.match(isolates, /^ {2}missing: namespaces:/m)
    assert.match(isolates, /^ {2}layers: /m)
    assert.doesNotMatch(isolates, /^ {2}layers: .*empty root/m)
    assert.match(stdout, /^✗ bubblewrap \(process\): .+\n {2}.+/m)
    assert.match(stdout, /^bubblewrap +false$/m)
  })

  test('without a name it begins with a verdict, and tries each available wall at least once', () => {
    const { status, stdout } = run(['doctor'])
    const [verdict = '', machine = ''] = stdout.split('\n')
    assert.match(
      verdict,
      /^ready: JavaScript.*; strongest wall .*; nothing below its promise in \d+/,
    )
    assert.match(machine, /^Linux .*kernel \d.*, Node \d/)
    assert.match(stdout, /^✓ +isolated-vm +isolate +[1-9]\d* trials?, all held$/m)
    assert.doesNotMatch(stdout, /pvm|layers:/)
    assert.equal(status, 0)
  })

  test('as an ordinary user it reports no own uid, no control group and a key that the server can read', (t) => {
    const become = facts.root ? becoming() : []
    if (typeof become === 'string') return t.skip(become)
    if (facts.root && !isLong) return t.skip('an ordinary user runs all of this again')
    const { status, report } = facts.root ? doctor({ become, of: quick }) : here()
    const isolates = isolatesIn(report)
    assert.ok(isolates.missing.some(isAbout('own uid')))
    assert.deepEqual(notHeld(report), [])
    assert.deepEqual([status, report.machine.root], [0, false])
    assert.equal(report.machine.keyCustody, 'none')
    assert.ok(report.warnings.some((warning) => warning.includes('signing key')))
  })

  test('S4-33: with user namespaces closed it names the missing layer, the setting that closed them, and CI', (t) => {
    if (!facts.unshare || !facts.namespaces) return t.skip('no namespaces here to close')
    const close = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    const become = [facts.unshare, '--user', '--map-root-user', 'sh', '-c', close, 'sh']
    const nobody = becoming()
    const { report } = doctor({
      of: quick,
      become: [...(typeof nobody === 'string' ? [] : nobody), ...become],
      env: { GITLAB_CI: 'true' },
    })
    const { namespaces, namespacesClosedBy, ci, kvm, pvm } = report.machine
    assert.deepEqual([namespaces, namespacesClosedBy], [false, 'user.max_user_namespaces = 0'])
    assert.deepEqual(
      [ci, kvm !== null, pvm],
      [true, existsSync('/dev/kvm'), existsSync('/sys/module/kvm_pvm')],
    )
    assert.ok(report.warnings.some((warning) => warning.includes('max_user_namespaces')))
    const [bubblewrap, embedded] = ['bubblewrap', 'embedded'].map((kind) =>
      report.providers.find(({ name }) => name === kind),
    )
    assert.equal(bubblewrap?.available, false)
    for (const said of [bubblewrap?.reason, bubblewrap?.fix]) assert.match(said ?? '', /\w/)
    // The embedded jail without namespaces is weaker, and lists them as missing.
    assert.ok(!embedded?.available || embedded.missing.some(isAbout('namespaces')))
  })

  test('seccomp filters refused by the kernel: no wall is available, and the fix is named', () => {
    const { status, report } = doctor({
      become: [process.execPath, withoutSeccomp],
      of: quick,
    })
    const isolates = isolatesIn(report)
    assert.deepEqual([status, isolates.available, isolates.held], [7, false, []])
    assert.match(isolates.reason ?? '', /seccomp/)
    assert.match(isolates.fix ?? '', /\w/)
  })
})

test('doctor with an unknown provider lists the known ones', { skip: unable() }, () => {
  const { status, stderr } = run(['doctor', 'bubblewarp'])
  assert.equal(status, 2)
  assert.match(stderr, /Cannot find provider "bubblewarp"/)
  assert.match(stderr, /isolated-vm, .*bubblewrap/)
})

interface Report {
  readonly providers: readonly ExaminedProvider[]
  readonly machine: Readonly<Record<string, unknown>>
  readonly warnings: readonly string[]
}

function notHeld({ providers }: Report): readonly unknown[] {
  return providers.flatMap(({ name, held }) =>
    held.filter((one) => !one.held).map((one) => [name, one]),
  )
}

interface How {
  readonly become?: readonly string[]
  /** Runs doctor for the named providers; for all of them without names. */
  readonly of?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

function doctor(how: How = {}): { readonly status: number | null; readonly report: Report } {
  const { status, stdout, stderr } = run(['doctor', '--json', ...(how.of ?? [])], how)
  assert.match(stdout, /^\{/, stderr)
  return { status, report: JSON.parse(stdout) as Report }
}

function run(args: readonly string[], { become = [], env = {} }: How = {}) {
  const state = join(folder, `state-${states++}`)
  const isNode = become[0] === process.execPath
  const command = [...become, ...(isNode ? [] : [process.execPath]), bin, ...args, '--state', state]
  return spawnSync(command[0]!, command.slice(1), {
    env: { PATH: process.env['PATH'], HOME: folder, TMPDIR: folder, ...env },
    encoding: 'utf8',
    timeout: doctorMsMax,
  })
}

function isolatesIn({ providers }: Report): ExaminedProvider {
  const found = providers.find(({ name }) => name === 'isolated-vm')
  assert.ok(found)
  return found
}

function isAbout(layer: string): (missing: { readonly layer: string }) => boolean {
  return (missing) => missing.layer === layer
}

/** Command prefix that drops to an unprivileged uid, or the reason why it cannot be done here. */
function becoming(): readonly string[] | string {
  const setpriv = findProgram('setpriv')
  if (process.getuid?.() !== 0 || !setpriv) return 'only root can become somebody else'
  const become = [setpriv, '--reuid', '12345', '--regid', '12345', '--clear-groups', '--']
  const reach = spawnSync(setpriv, [
    ...become.slice(1),
    'test',
    '-r',
    bin,
    '-a',
    '-x',
    process.execPath,
  ])
  return reach.status === 0 ? become : 'somebody else cannot reach the checkout'
}

function unable(): string | false {
  return facts.platform === 'linux' ? false : 'only Linux has these jails'
}
