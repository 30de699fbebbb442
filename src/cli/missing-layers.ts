import type { MissingLayer } from '../contract/answers.ts'
import type { WardenFacts } from '../contract/warden.ts'
import { findSurroundings, type Surroundings } from './surroundings.ts'

/** Inputs of the fixes; surroundings are examined lazily. */
export interface FixContext {
  readonly root: boolean
  readonly surroundings: () => Pick<Surroundings, 'container' | 'namespacesClosedBy'>
}

export function fixContext({ root }: Pick<WardenFacts, 'root'>): FixContext {
  let found: Surroundings | undefined
  return { root, surroundings: () => (found ??= findSurroundings()) }
}

/** Parses a probe's missing layers (`layer: reason and effect`) and adds a fix where one is known. */
export function missingOf(said: readonly string[], where: FixContext): readonly MissingLayer[] {
  return said.map((text) => {
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
    'Start Mayfly as root, outside of a user namespace: each wall then has a uid of its own, and the server gives root up',
  namespaces: (_, { surroundings, root }) => openNamespaces(surroundings(), root),
  programs: (why, { surroundings, root }) =>
    openSentinel(why) ?? openNamespaces(surroundings(), root),
  'own system': (_, { surroundings, root }) => openNamespaces(surroundings(), root),
  landlock: () =>
    'Boot a kernel with Landlock: Linux 5.13 or newer, and "landlock" in its lsm= list',
  '/proc': () =>
    'Start the container so that it covers nothing below /proc, as by --security-opt systempaths=unconfined',
  sentinel: openSentinel,
  'own uid inside': () => 'Install gcc or clang, of which the launcher is made',
  'memory cgroup': (_, where) => openControlGroups(where),
  'cpu quota': (_, where) => openControlGroups(where),
  calls: () =>
    'Choose bubblewrap or embedded for a job whose schedule closes system calls: they close them while it runs',
  'own address layout': () => 'Set `fresh = true` in the configuration',
  python: (why) => (why.startsWith('there is no') ? 'Install python3 there' : undefined),
}

function openControlGroups({ root }: FixContext): string {
  return root
    ? 'Mount the control groups, and let this container write to its own'
    : 'Start Mayfly as root: it then makes a control group for each wall. Or "mayfly setup" delegates them to you'
}

function openNamespaces(
  { namespacesClosedBy, container }: ReturnType<FixContext['surroundings']>,
  root: boolean,
): string {
  if (namespacesClosedBy !== null && !root)
    return `Run "mayfly setup", which says how to open them, or start Mayfly as root: ${namespacesClosedBy}`
  if (container === 'docker') return `Let this container make namespaces: ${dockerOptions}`
  if (container !== null) return `Let this container (${container}) make namespaces: ${podOptions}`
  return 'Install util-linux, whose unshare makes them'
}

/** Options as in docs/how-to/docker.md. */
const dockerOptions =
  'docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined --cap-add SYS_ADMIN'
const podOptions =
  'no seccomp or AppArmor profile that closes unshare, clone and mount, and the capability SYS_ADMIN'

function openSentinel(why: string): string | undefined {
  if (why.includes('switched off')) return 'Unset MAYFLY_SENTINEL'
  if (why.includes('no C compiler')) return 'Install gcc or clang'
  if (why.includes('compiler refused'))
    return 'Mend what the C compiler says: it is tried again by itself'
  if (why.includes('look into'))
    return 'Set kernel.yama.ptrace_scope to 0; in a container, let it use ptrace and seccomp listeners, as by --cap-add SYS_PTRACE'
  return undefined
}
