import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { missingOf } from '../../src/cli/missing-layers.ts'
import { findProgram } from '../../src/os/find-program.ts'

const file = (name: string) => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')

test('The compose file, the page about Docker and doctor name the same options', () => {
  const compose = file('examples/docker/compose.yaml')
  const at = { container: 'docker', namespacesClosedBy: null }
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
  assert.match(file(build.dockerfile), /^FROM node:22-/m)
})

test(
  'The unit is one that systemd takes, and the page has it as it is',
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
