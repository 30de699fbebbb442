import type { MissingLayer } from '../contract/answers.ts'
import type { WardenFacts } from '../contract/warden.ts'
import { findSurroundings, type Surroundings } from './surroundings.ts'

/** Inputs of the fixes; surroundings are examined lazily. */
export interface FixContext {
  readonly root: boolean
  readonly surroundings: () => Pick<
    Surroundings,
    'container' | 'namespacesClosedBy' | 'canDelegateCgroups'
  >
}

export function fixContext({ root }: Pick<WardenFacts, 'root'>): FixContext {
  let found: Surroundings | undefined
  return { root, surroundings: () => (found ??= findSurroundings()) }
}

/** Parses a probe's missing layers (`layer: reason and effect`) and adds a fix where one is known. */
export function missingOf(layers: readonly string[], where: FixContext): readonly MissingLayer[] {
  return layers.map((text) => {
    const cut = text.indexOf(': ')
    const [layer, why] = cut < 0 ? [text, text] : [text.slice(0, cut), text.slice(cut + 2)]
    const fix = fixes[layer]?.(why, where)
    return { layer, why, ...(fix !== undefined && { fix }) }
  })
}

/** Distinct fixes, one line each; empty if there are none. */
export function fixesText(missing: readonly MissingLayer[]): readonly string[] {
  const lines = missing.flatMap(({ layer, fix }) => (fix === undefined ? [] : `${layer}: ${fix}`))
  return [...new Set(lines)]
}

type FixFor = (why: string, where: FixContext) => string | undefined

const fixes: Readonly<Record<string, FixFor>> = {
  'own uid': () =>
    'Start Mayfly as root, outside of a user namespace: each wall then has its own uid, and the server drops root',
  namespaces: (_, { surroundings, root }) => openNamespaces(surroundings(), root),
  programs: (why, { surroundings, root }) =>
    openSentinel(why) ?? openNamespaces(surroundings(), root),
  'own system': (_, { surroundings, root }) => openNamespaces(surroundings(), root),
  landlock: () =>
    'Boot a kernel with Landlock: Linux 5.13 or newer, and "landlock" in its lsm= list',
  '/proc': () =>
    'Start the container without masked paths below /proc, such as with --security-opt systempaths=unconfined',
  sentinel: openSentinel,
  'own uid inside': () => 'Install gcc or clang, which compile the launcher',
  'memory cgroup': (_, where) => openControlGroups(where),
  'cpu quota': (_, where) => openControlGroups(where),
  calls: () =>
    'For a job whose schedule closes system calls, use bubblewrap or embedded, which can close them while it runs',
  'own address layout': () => 'Set `fresh = true` in the configuration',
  python: (why) => (why.startsWith('there is no') ? 'Install python3 there' : undefined),
}

function openControlGroups({ root, surroundings }: FixContext): string {
  if (root) return 'Mount the cgroup file system, and make the cgroup of this container writable'
  const asRoot = 'Start Mayfly as root, so that it makes a cgroup for each wall'
  return surroundings().canDelegateCgroups
    ? `${asRoot}, or run "mayfly setup", which delegates cgroups to this user`
    : asRoot
}

function openNamespaces(
  { namespacesClosedBy, container }: ReturnType<FixContext['surroundings']>,
  root: boolean,
): string {
  if (namespacesClosedBy !== null && !root)
    return `Run "mayfly setup", which explains how to enable them, or start Mayfly as root: ${namespacesClosedBy}`
  if (container === 'docker') return `Allow this container to create namespaces: ${dockerOptions}`
  if (container !== null)
    return `Allow this container (${container}) to create namespaces: ${podOptions}`
  return 'Install util-linux, which provides unshare; if it is there, lift what forbids namespaces: a seccomp filter, AppArmor, or RestrictNamespaces= of a systemd unit'
}

/** Options as in docs/how-to/docker.md. */
const dockerOptions =
  'docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined --cap-add SYS_ADMIN'
const podOptions =
  'no seccomp or AppArmor profile that blocks unshare, clone and mount, and the capability SYS_ADMIN'

function openSentinel(why: string): string | undefined {
  if (why.includes('switched off')) return 'Unset MAYFLY_SENTINEL'
  if (why.includes('no C compiler')) return 'Install gcc or clang'
  if (why.includes('compiler refused'))
    return 'Fix the error of the C compiler; compilation is retried automatically'
  if (why.includes('look into'))
    return 'Set kernel.yama.ptrace_scope to 0; in a container, allow ptrace and seccomp listeners, such as with --cap-add SYS_PTRACE'
  return undefined
}
