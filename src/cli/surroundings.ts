import { existsSync, readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { attempt } from '../lib/attempt.ts'
import { kvmAccess, type KvmAccess } from '../lib/kvm-access.ts'

/** Environment of Mayfly, determined from files and variables, never by running a command. */
export interface Surroundings {
  /** Container kind; null outside of containers. */
  readonly container: string | null
  readonly ci: boolean
  readonly kvm: KvmAccess
  /** PVM: KVM without hardware virtualisation, inside a VM. */
  readonly pvm: boolean
  /** True inside a virtual machine. */
  readonly virtual: boolean | null
  /** sysctl that denies user namespaces to ordinary users; null if none. */
  readonly namespacesClosedBy: string | null
  /** systemd manages cgroups of version 2, which it can delegate to ordinary users. */
  readonly canDelegateCgroups: boolean
}

/** Test hook: files and variables of another machine. */
export interface SurroundingsSource {
  readonly root?: string
  readonly env?: NodeJS.ProcessEnv
  readonly release?: string
}

export function findSurroundings({
  root = '/',
  env = process.env,
  release = os.release(),
}: SurroundingsSource = {}): Surroundings {
  const read = (file: string) => readableTextOf(path.join(root, file))
  const exists = (file: string) => existsSync(path.join(root, file))
  const cpu = read('proc/cpuinfo')
  return {
    container: containerIn(read, exists, env) ?? (/microsoft/i.test(release) ? 'wsl' : null),
    ci: ciVariables.some((name) => isSet(env[name])),
    kvm: kvmAccess(root),
    pvm: exists('sys/module/kvm_pvm'),
    virtual: cpu === undefined ? null : /^flags\s*:.*\bhypervisor\b/m.test(cpu),
    namespacesClosedBy: closedBy(read),
    canDelegateCgroups: exists('sys/fs/cgroup/cgroup.controllers') && exists('run/systemd/system'),
  }
}

/** CI variables of common systems. */
const ciVariables = [
  'CI',
  'GITHUB_ACTIONS',
  'GITLAB_CI',
  'BUILDKITE',
  'JENKINS_URL',
  'TEAMCITY_VERSION',
  'TF_BUILD',
  'CODEBUILD_BUILD_ID',
]

type Read = (file: string) => string | undefined

/** Order matters: a pod also has the files of its container runtime. */
function containerIn(
  read: Read,
  exists: (file: string) => boolean,
  env: NodeJS.ProcessEnv,
): string | null {
  if (env['KUBERNETES_SERVICE_HOST']) return 'kubernetes'
  if (exists('.dockerenv')) return 'docker'
  if (exists('run/.containerenv')) return 'podman'
  const named = read('run/systemd/container')?.trim()
  if (named) return named
  // With cgroup v2 a container sees its cgroup as the root; then the root mount identifies it.
  const rootMount = read('proc/self/mountinfo')
    ?.split('\n')
    .find((line) => line.split(' ')[4] === '/')
  return wordIn(read('proc/1/cgroup')) ?? wordIn(rootMount) ?? null
}

function wordIn(text: string | undefined): string | undefined {
  return /docker|kubepods|lxc|containerd|libpod|containers\/storage/.exec(text ?? '')?.[0]
}

/** sysctls and their value that closes user namespaces. */
const closing: readonly (readonly [string, string])[] = [
  ['user/max_user_namespaces', '0'],
  ['kernel/unprivileged_userns_clone', '0'],
  ['kernel/apparmor_restrict_unprivileged_userns', '1'],
]

function closedBy(read: Read): string | null {
  const found = closing.find(([file, value]) => read(`proc/sys/${file}`)?.trim() === value)
  return found ? `${found[0].replace('/', '.')} = ${found[1]}` : null
}

/** `CI=false` counts as unset. */
export function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== 'false' && value !== '0'
}

/** Undefined for a file that cannot be read. */
export function readableTextOf(file: string): string | undefined {
  return attempt(() => readFileSync(file, 'utf8'))
}
