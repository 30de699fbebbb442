import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fixesText, missingOf, type FixContext } from './missing-layers.ts'

const nowhere = { container: null, namespacesClosedBy: null, canDelegateCgroups: false }
const where = (
  root: boolean,
  found: ReturnType<FixContext['surroundings']> = nowhere,
): FixContext => ({
  root,
  surroundings: () => found,
})
const fixOf = (text: string, at: FixContext) => missingOf([text], at)[0]?.fix

test('A missing layer has its name, its reason, and a fix for this machine', () => {
  const own = missingOf(
    ['own uid: walls share the uid of the user who started Mayfly'],
    where(false),
  )
  assert.deepEqual(
    own.map(({ layer, why }) => [layer, why]),
    [['own uid', 'walls share the uid of the user who started Mayfly']],
  )
  assert.match(own[0]!.fix!, /as root/)
  const cgroup = 'memory cgroup: memory is held by a watch every 2 ms alone'
  assert.match(fixOf(cgroup, where(false))!, /as root/)
  assert.doesNotMatch(fixOf(cgroup, where(true))!, /as root/)
})

test('A missing cgroup is sent to the setup only where the setup can delegate one', () => {
  const text = 'memory cgroup: memory is held by a watch every 2 ms alone'
  const delegable = { ...nowhere, canDelegateCgroups: true }
  assert.match(fixOf(text, where(false, delegable))!, /as root.*, or run "mayfly setup"/)
  assert.doesNotMatch(fixOf(text, where(false))!, /setup/)
})

test('Closed namespaces name what closes them', () => {
  const namespacesClosedBy = 'user.max_user_namespaces = 0'
  const closed = { ...nowhere, container: 'docker', namespacesClosedBy }
  const text = 'namespaces: closed by seccomp alone'
  assert.match(fixOf(text, where(false, closed))!, /user\.max_user_namespaces = 0/)
  const docker = fixOf(text, where(true, closed))!
  for (const option of ['seccomp', 'apparmor', 'systempaths'])
    assert.match(docker, new RegExp(`--security-opt ${option}=unconfined`))
  assert.match(fixOf(text, where(true))!, /unshare/)
})

test('A missing sentinel has a fix for its cause', () => {
  const fix = (why: string) => fixOf(`sentinel: ${why}; files stay open`, where(true))
  assert.match(fix('there is no C compiler to make it with')!, /gcc/)
  assert.match(fix('the C compiler refused it: No space left on device')!, /C compiler/)
  assert.match(fix('it is switched off')!, /MAYFLY_SENTINEL/)
  assert.match(fix('this machine does not let it look into walls (EPERM)')!, /ptrace_scope/)
  assert.equal(fix('what was made of it is not what was found'), undefined)
})

test('Each layer that a wall of programs or gVisor may lack has a fix, for root and for others', () => {
  for (const root of [true, false])
    for (const text of [
      'own uid: walls share the uid of the user who started Mayfly',
      'own uid inside: without the launcher the program is uid 0 of its own user namespace',
      'memory cgroup: memory is limited only by sampling every 10 ms',
      'cpu quota: the sentry pauses a program above its CPU limit',
      'calls: runsc cannot close classes of system calls while a program runs',
      'landlock: files are closed by one layer less',
      'programs: a job can start none, and has no sockets, because Landlock does not hold files',
      'programs: a job can start none, and has no sockets, because there is no C compiler',
      'own system: a job finds no /proc',
      '/proc: the kernel gives none here',
    ])
      assert.match(fixOf(text, where(root)) ?? '', /^[A-Z]/, text)
})

test('A fix is listed once, however many walls need it', () => {
  const two = missingOf(['own uid: a', 'own uid: b', 'a wall: none'], where(false))
  assert.equal(fixesText(two).length, 1)
  assert.match(fixesText(two)[0]!, /^own uid: Start/)
})

test('A layer without a known fix has only its reason', () => {
  assert.deepEqual(missingOf(['a wall: it runs no code at all', 'something'], where(true)), [
    { layer: 'a wall', why: 'it runs no code at all' },
    { layer: 'something', why: 'something' },
  ])
})
