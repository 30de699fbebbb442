import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { suite, test } from 'node:test'
import { findSurroundings, type SurroundingsSource, type Surroundings } from './surroundings.ts'

type Files = Readonly<Record<string, string>>

/** A machine with only these files and variables. */
function on(files: Files, more: Omit<SurroundingsSource, 'root'> = {}): Surroundings {
  const root = mkdtempSync(join(tmpdir(), 'mayfly-elsewhere-'))
  try {
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, file)), { recursive: true })
      writeFileSync(join(root, file), text)
    }
    return findSurroundings({ root, env: {}, release: '6.12.0', ...more })
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

const overlay = (store: string) =>
  `21 1 0:31 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/${store}/l/A:/var/lib/x`

suite('Surroundings of Mayfly (S4-33)', () => {
  test('A bare machine has no special surroundings', () => {
    assert.deepEqual(on({ 'proc/1/cgroup': '0::/init.scope\n', 'proc/cpuinfo': 'flags : fpu\n' }), {
      container: null,
      ci: false,
      kvm: null,
      pvm: false,
      virtual: false,
      namespacesClosedBy: null,
      canDelegateCgroups: false,
    })
  })

  const containers: readonly (readonly [string, Files, NodeJS.ProcessEnv?])[] = [
    ['docker', { '.dockerenv': '' }],
    ['podman', { 'run/.containerenv': 'engine="podman"' }],
    ['systemd-nspawn', { 'run/systemd/container': 'systemd-nspawn\n' }],
    ['kubernetes', { '.dockerenv': '' }, { KUBERNETES_SERVICE_HOST: '10.0.0.1' }],
    ['docker', { 'proc/1/cgroup': '12:pids:/docker/0123abcd\n' }],
    ['kubepods', { 'proc/1/cgroup': '0::/kubepods/besteffort/pod1\n' }],
    ['lxc', { 'proc/1/cgroup': '4:memory:/lxc/one\n' }],
    ['docker', { 'proc/1/cgroup': '0::/\n', 'proc/self/mountinfo': overlay('docker/overlay2') }],
    ['containerd', { 'proc/1/cgroup': '0::/\n', 'proc/self/mountinfo': overlay('containerd/x') }],
  ]
  for (const [index, [kind, files, env = {}]] of containers.entries())
    test(`A container of ${kind} is known (${index + 1})`, () => {
      assert.equal(on(files, { env }).container, kind)
    })

  test('WSL is known by its kernel', () => {
    const release = '5.15.146.1-microsoft-standard-WSL2'
    assert.equal(on({}, { release }).container, 'wsl')
  })

  test('A folder of Docker elsewhere on the disk makes no container', () => {
    const mounts = '30 21 8:1 / /var/lib/docker rw - ext4 /dev/sda1 rw\n21 1 8:1 / / rw - ext4 x rw'
    assert.equal(on({ 'proc/self/mountinfo': mounts }).container, null)
  })

  test('CI is known by the variables of its vendors, and CI=false is none', () => {
    const isCi = (env: NodeJS.ProcessEnv) => on({}, { env }).ci
    const names =
      'CI GITHUB_ACTIONS GITLAB_CI BUILDKITE JENKINS_URL TEAMCITY_VERSION TF_BUILD CODEBUILD_BUILD_ID'
    for (const name of names.split(' ')) assert.equal(isCi({ [name]: 'yes' }), true, name)
    assert.deepEqual([isCi({ CI: 'false' }), isCi({ CI: '' }), isCi({})], [false, false, false])
  })

  test('KVM is open, closed to this user, or not there; PVM is known by its module', () => {
    assert.equal(on({ 'dev/kvm': '' }).kvm, 'open')
    // A folder cannot be opened for writing, even by root.
    assert.equal(on({ 'dev/kvm/x': '' }).kvm, 'closed')
    assert.deepEqual([on({}).kvm, on({}).pvm], [null, false])
    assert.equal(on({ 'sys/module/kvm_pvm/refcnt': '0' }).pvm, true)
  })

  test('A virtual machine is known by its processor', () => {
    assert.equal(on({ 'proc/cpuinfo': 'flags\t\t: fpu hypervisor lahf_lm\n' }).virtual, true)
    assert.equal(on({}).virtual, null)
  })

  test('Control groups can be delegated by systemd, and those of version 2 alone', () => {
    const version2 = { 'sys/fs/cgroup/cgroup.controllers': 'cpu memory\n' }
    const systemd = { 'run/systemd/system/x': '' }
    const found = [{ ...version2, ...systemd }, version2, systemd].map((files) => on(files))
    assert.deepEqual(
      found.map(({ canDelegateCgroups }) => canDelegateCgroups),
      [true, false, false],
    )
  })

  test('The sysctl that closes user namespaces is named', () => {
    const closedBy = (file: string, text: string) =>
      on({ [`proc/sys/${file}`]: text }).namespacesClosedBy
    assert.equal(closedBy('user/max_user_namespaces', '0\n'), 'user.max_user_namespaces = 0')
    assert.equal(
      closedBy('kernel/unprivileged_userns_clone', '0\n'),
      'kernel.unprivileged_userns_clone = 0',
    )
    assert.match(closedBy('kernel/apparmor_restrict_unprivileged_userns', '1')!, /apparmor/)
    assert.equal(closedBy('user/max_user_namespaces', '96000'), null)
  })
})
