import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { findJailFacts, findProgram } from '../../src/jail/facts.ts'
import type { Examined } from '../../src/cli/doctor.ts'

const root = join(import.meta.dirname, '../..')
const bin = join(root, 'bin/mayfly.js')
const withoutSeccomp = join(root, 'tests/walls/fixtures/no-seccomp.js')
const facts = findJailFacts()
const folder = mkdtempSync(join(tmpdir(), 'mayfly-doctor-'))
chmodSync(folder, 0o777)
after(() => rmSync(folder, { recursive: true, force: true }))

const walls = ['network', 'files', 'memory', 'cpu', 'processes', 'time', 'secrets', 'objects']
let states = 0

const trials = ['network', 'files', 'memory', 'cpu', 'processes', 'time', 'kernel']
trials.push('artifacts', 'secrets', 'leftovers')

suite('mayfly doctor tells the truth', { skip: unable() }, () => {
  let here: ReturnType<typeof doctor>
  before(() => {
    here = doctor()
  })

  test('here, where it is run: every wall was tried, and held', () => {
    const { status, report } = here
    const isolates = isolatesIn(report)
    assert.deepEqual(
      isolates.held.map(({ wall, held }) => [wall, held]),
      walls.map((wall) => [wall, true]),
    )
    assert.equal(status, 0)
    assert.equal(report.machine.root, facts.root)
    assert.equal(report.machine.landlock, facts.landlock)
    assert.deepEqual(isolates.missing.some(isAbout('namespaces')), !facts.namespaces)
  })

  test('programs were let loose on each process wall, and every one was held', (t) => {
    const processes = here.report.providers.filter(
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

  test('without unshare and bubblewrap: the walls hold, and what is missing is said', () => {
    const { status, report } = doctor({ env: { PATH: dirname(process.execPath) } })
    const isolates = isolatesIn(report)
    assert.ok(isolates.missing.some(isAbout('namespaces')))
    assert.ok(!isolates.layers.includes('empty root'))
    assert.ok(isolates.held.every(({ held }) => held))
    assert.deepEqual([status, report.machine.bubblewrap], [0, false])
  })

  test('as an ordinary user: no uid of its own, no group, and a key that the server could read', (t) => {
    const become = becoming()
    if (typeof become === 'string') return t.skip(become)
    const { status, report } = doctor({ become })
    const isolates = isolatesIn(report)
    assert.ok(isolates.missing.some(isAbout('own uid')))
    assert.ok(isolates.held.every(({ held }) => held))
    assert.deepEqual([status, report.machine.root, report.machine.uid], [0, false, 12_345])
    assert.equal(report.machine.keyCustody, 'none')
    assert.ok(report.warnings.some((warning) => warning.includes('signing key')))
  })

  test('where the kernel refuses filters: there is no wall, and the way out is said', () => {
    const { status, report } = doctor({ become: [process.execPath, withoutSeccomp] })
    const isolates = isolatesIn(report)
    assert.deepEqual([status, isolates.available, isolates.held], [7, false, []])
    assert.match(isolates.reason ?? '', /seccomp/)
    assert.match(isolates.fix ?? '', /\w/)
  })

  test('for people: a line for each wall, on stdout', () => {
    const { status, stdout } = run(['doctor'])
    assert.equal(status, 0)
    for (const wall of walls) assert.match(stdout, new RegExp(`✓ ${wall}`))
  })
})

interface Report {
  readonly providers: readonly Examined[]
  readonly machine: Readonly<Record<string, unknown>>
  readonly warnings: readonly string[]
}

interface How {
  readonly become?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

function doctor(how: How = {}): { readonly status: number | null; readonly report: Report } {
  const { status, stdout, stderr } = run(['doctor', '--json'], how)
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
    timeout: 120_000,
  })
}

function isolatesIn({ providers }: Report): Examined {
  const found = providers.find(({ name }) => name === 'isolated-vm')
  assert.ok(found)
  return found
}

function isAbout(layer: string): (missing: string) => boolean {
  return (missing) => missing.startsWith(`${layer}:`)
}

/** How to become somebody without rights, or why that cannot be done here. */
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
