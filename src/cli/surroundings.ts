import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

/** Where Mayfly runs, as far as it can be told without trying: by files, by variables, never by a command. */
export interface Surroundings {
  /** What this is a container of; null outside of any. */
  readonly container: string | null
  readonly ci: boolean
  /** Whether this user may open /dev/kvm. That a machine starts there is for whoever needs one to prove. */
  readonly kvm: 'open' | 'closed' | null
  /** KVM without help of the processor, as in a virtual machine that has none. */
  readonly pvm: boolean
  /** This is a virtual machine itself. */
  readonly virtual: boolean | null
  /** Why an ordinary user may make no user namespaces, as the setting that says so; null where none does. */
  readonly namespacesClosedBy: string | null
}

/** For tests: another machine's files and variables. */
export interface Elsewhere {
  readonly root?: string
  readonly env?: NodeJS.ProcessEnv
  readonly release?: string
}

export function findSurroundings({
  root = '/',
  env = process.env,
  release = os.release(),
}: Elsewhere = {}): Surroundings {
  const read = (file: string) => textOf(path.join(root, file))
  const exists = (file: string) => existsSync(path.join(root, file))
  const cpu = read('proc/cpuinfo')
  return {
    container: containerIn(read, exists, env) ?? (/microsoft/i.test(release) ? 'wsl' : null),
    ci: ciVariables.some((name) => isSet(env[name])),
    kvm: exists('dev/kvm') ? (opens(path.join(root, 'dev/kvm')) ? 'open' : 'closed') : null,
    pvm: exists('sys/module/kvm_pvm'),
    virtual: cpu === undefined ? null : /^flags\s*:.*\bhypervisor\b/m.test(cpu),
    namespacesClosedBy: closedBy(read),
  }
}

/** That any of them is set says it; `CI=false` is how people say that it is none. */
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

/** In this order: a pod is a container of something else too, and says what it is by its own file. */
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
  // With control groups of version 2 a container sees its own group as the root: then its root folder tells.
  const rootMount = read('proc/self/mountinfo')
    ?.split('\n')
    .find((line) => line.split(' ')[4] === '/')
  return wordIn(read('proc/1/cgroup')) ?? wordIn(rootMount) ?? null
}

function wordIn(text: string | undefined): string | undefined {
  return /docker|kubepods|lxc|containerd|libpod|containers\/storage/.exec(text ?? '')?.[0]
}

/** Each file with what it says when user namespaces are closed to those who are not root. */
const closing: readonly (readonly [string, string])[] = [
  ['user/max_user_namespaces', '0'],
  ['kernel/unprivileged_userns_clone', '0'],
  ['kernel/apparmor_restrict_unprivileged_userns', '1'],
]

function closedBy(read: Read): string | null {
  const found = closing.find(([file, value]) => read(`proc/sys/${file}`)?.trim() === value)
  return found ? `${found[0].replace('/', '.')} = ${found[1]}` : null
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== 'false' && value !== '0'
}

function opens(file: string): boolean {
  try {
    closeSync(openSync(file, 'r+'))
    return true
  } catch {
    return false
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
