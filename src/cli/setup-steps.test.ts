import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { carryOut, carryOutStep } from './setup-actions.ts'
import { apparmorProfile, setupSteps, type SetupSource, type SetupStep } from './setup-steps.ts'

/** A machine of planted files. */
function planted(files: Readonly<Record<string, string>>) {
  const root = mkdtempSync(path.join(tmpdir(), 'mayfly-machine-'))
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true })
    writeFileSync(path.join(root, file), text)
  }
  return { root, [Symbol.dispose]: () => rmSync(root, { recursive: true }) }
}

function stepsOf(
  root: string,
  more: Partial<SetupSource> = {},
): Readonly<Record<string, SetupStep>> {
  const source = { root, env: {}, user: 'ada', node: '/opt/node', hasProgram: () => true, ...more }
  return Object.fromEntries(setupSteps(source).map((step) => [step.name, step]))
}

const ubuntu = {
  'etc/debian_version': '13\n',
  'proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1\n',
  'sys/fs/cgroup/cgroup.controllers': 'cpu memory pids\n',
  'sys/kernel/security/lsm': 'capability,yama,apparmor\n',
  'run/systemd/system/x': '',
  'etc/subuid': 'bob:100000:65536\n',
}

test('A machine like Ubuntu 24.04 has five steps to do, each with an undo, and Landlock by hand', () => {
  using machine = planted(ubuntu)
  const steps = stepsOf(machine.root, { hasProgram: (name) => name !== 'bwrap' && name !== 'cc' })
  assert.deepEqual(
    Object.values(steps).map(({ name, isDone }) => [name, isDone]),
    [
      ['packages', false],
      ['user namespaces', false],
      ['landlock', false],
      ['control groups', false],
      ['subordinate uids', false],
    ],
  )
  const [install] = steps['packages']!.actions
  assert.deepEqual(install?.kind === 'run' && install.words.slice(4), [
    'bubblewrap',
    'gcc',
    'libc6-dev',
  ])
  assert.match(steps['landlock']!.byHand!, /lsm=landlock,capability,yama,apparmor/)
  assert.deepEqual(steps['landlock']!.actions, [])
  for (const { undo, why } of Object.values(steps)) assert.ok(undo && why)
  assert.deepEqual(
    Object.values(steps).map(({ undo }) => undo),
    [
      'apt-get remove bubblewrap gcc libc6-dev',
      'apparmor_parser --remove /etc/apparmor.d/mayfly && rm /etc/apparmor.d/mayfly',
      'Remove it there, and boot',
      'rm /etc/systemd/system/user@.service.d/60-mayfly.conf && systemctl daemon-reload; in force at the next login',
      'usermod --del-subuids 1000000-1065535 --del-subgids 1000000-1065535 ada',
    ],
  )
})

test('A uid without an account gets its range by hand, since usermod would not know it', () => {
  using machine = planted(ubuntu)
  const step = stepsOf(machine.root, { user: '4321' })['subordinate uids']!
  assert.deepEqual(step.actions, [])
  assert.match(step.byHand!, /"4321:\d+:\d+" to \/etc\/subuid/)
})

test('Subordinate uids are a range that no other user has, of uids or of gids', () => {
  const rangeOf = (subuid: string, subgid: string) => {
    using machine = planted({ ...ubuntu, 'etc/subuid': subuid, 'etc/subgid': subgid })
    const [add] = stepsOf(machine.root)['subordinate uids']!.actions
    return add?.kind === 'run' && [add.words[2], add.words[4]]
  }
  const both = (range: string) => [range, range]
  assert.deepEqual(rangeOf('', ''), both('1000000-1065535'))
  assert.deepEqual(rangeOf('bob:1000000:65536\n', ''), both('1065536-1131071'))
  assert.deepEqual(rangeOf('bob:100000:1000000\n', ''), both('1100000-1165535'))
  const above = 'cy:1065536:65536\n7:1000000:65536\n'
  assert.deepEqual(rangeOf('bob:1131072:65536\n', above), both('1196608-1262143'))
})

test('A step whose program fails is not done: its files are as they were before', () => {
  using machine = planted({ ...ubuntu, 'etc/kept': 'before' })
  const fails = { kind: 'run', words: ['false'] } as const
  for (const name of ['user namespaces', 'control groups']) {
    const [write] = stepsOf(machine.root)[name]!.actions
    assert.throws(() => carryOutStep([write!, fails], machine.root), /Cannot run "false"/)
    assert.ok(!stepsOf(machine.root)[name]!.isDone, name)
  }
  assert.ok(!existsSync(path.join(machine.root, 'etc/apparmor.d/mayfly')))
  const kept = { kind: 'file', path: 'etc/kept', text: 'after' } as const
  const file = path.join(machine.root, 'etc/kept')
  const tells = { kind: 'run', words: ['sh', '-c', 'cat "$0" >&2; exit 1', file] } as const
  assert.throws(() => carryOutStep([kept, tells], machine.root), /: after$/)
  assert.equal(readFileSync(file, 'utf8'), 'before')
})

test('The path of Node is quoted in its profile, and no pattern', () => {
  const text = apparmorProfile('/mnt/c/Ada Byron/[a]{b}*/node')
  assert.match(text, /^profile mayfly "\/mnt\/c\/Ada Byron\/\\\[a\\\]\\\{b\\\}\\\*\/node" flags/m)
})

test('Files that setup writes are found done the next time, and are left as they are', () => {
  using machine = planted(ubuntu)
  const filesOf = () =>
    Object.values(stepsOf(machine.root)).flatMap(({ actions }) =>
      actions.filter(({ kind }) => kind === 'file'),
    )
  assert.equal(filesOf().length, 2)
  for (const action of filesOf()) assert.match(carryOut(action, machine.root), /^wrote /)
  const after = stepsOf(machine.root)
  assert.ok(after['user namespaces']!.isDone && after['control groups']!.isDone)
  for (const action of filesOf()) assert.match(carryOut(action, machine.root), /^left /)
  const profile = readFileSync(path.join(machine.root, 'etc/apparmor.d/mayfly'), 'utf8')
  assert.equal(profile, apparmorProfile('/opt/node'))
})

test('A sysctl that closes namespaces is set to its other value, and root needs no delegation', () => {
  using machine = planted({ 'proc/sys/user/max_user_namespaces': '0\n' })
  const steps = stepsOf(machine.root, { user: 'root' })
  const [write, load] = steps['user namespaces']!.actions
  assert.match(write?.kind === 'file' ? write.text : '', /^user\.max_user_namespaces = 15000$/m)
  assert.deepEqual(load?.kind === 'run' && load.words[0], 'sysctl')
  assert.equal(steps['control groups'], undefined)
  assert.equal(steps['subordinate uids'], undefined)
})

test('A system without apt gets a list of packages, and a container gets no steps for its host', () => {
  using machine = planted({ '.dockerenv': '' })
  const steps = stepsOf(machine.root, { hasProgram: () => false })
  assert.deepEqual(steps['packages']!.actions, [])
  assert.match(steps['packages']!.byHand!, /bubblewrap, util-linux, gcc/)
  assert.equal(steps['user namespaces'], undefined)
})

test('A program that fails ends the setup with its last line', () => {
  using machine = planted({})
  assert.match(carryOut({ kind: 'run', words: ['true'] }), /^ran true/)
  assert.throws(
    () => carryOut({ kind: 'run', words: ['sh', '-c', 'echo first >&2; echo why >&2; exit 3'] }),
    /Cannot run "sh .*": why/,
  )
  assert.throws(
    () => carryOut({ kind: 'run', words: [path.join(machine.root, 'program')] }),
    /ENOENT/,
  )
})
