import { existsSync } from 'node:fs'
import path from 'node:path'
import { findSurroundings, readableTextOf, type Surroundings } from './surroundings.ts'

/**
 * Setup steps, done once, that give a machine stronger walls. Reads the machine and changes nothing: a step states whether it is done,
 * which files and commands it needs, and how to undo it. `mayfly setup` prints the steps; `--apply` performs them.
 */
export interface SetupStep {
  readonly name: string
  /** Effect on the walls. */
  readonly why: string
  readonly isDone: boolean
  /** Performed by `--apply`, in this order; empty if only a person can do it. */
  readonly actions: readonly SetupAction[]
  /** Instruction for a person, if there is no action. */
  readonly byHand?: string
  readonly undo: string
}

export type SetupAction =
  | { readonly kind: 'file'; readonly path: string; readonly text: string }
  | { readonly kind: 'run'; readonly words: readonly [string, ...string[]] }

/** Source of facts about the machine; replaced in tests. */
export interface SetupSource {
  readonly root?: string
  readonly env?: NodeJS.ProcessEnv
  readonly surroundings?: Surroundings
  /** User that Mayfly will run as, or a uid without an account; root needs no delegation and no range. */
  readonly user: string
  /** Binary that makes namespaces: the Node that Mayfly runs on. */
  readonly node: string
  readonly hasProgram: (name: string) => boolean
}

const PROFILE = '/etc/apparmor.d/mayfly'
const SYSCTL = '/etc/sysctl.d/60-mayfly.conf'
const DELEGATION = '/etc/systemd/system/user@.service.d/60-mayfly.conf'
const NAMESPACES_MAX = 15_000
const SUBORDINATES = { least: 1_000_000, count: 65_536 } as const
const basePackages = ['bubblewrap', 'util-linux', 'gcc', 'libc6-dev', 'python3']

/** AppArmor profile that allows Mayfly's Node and its children to create user namespaces, and changes nothing else. */
export function apparmorProfile(node: string): string {
  // The name of a profile is a glob (apparmor.d(5)).
  const path = node.replaceAll(/[[\]{}*?"\\]/g, String.raw`\$&`)
  return `# Mayfly: walls are made of user namespaces. Confines nothing: it only lets this program make them.
abi <abi/4.0>,
include <tunables/global>

profile mayfly "${path}" flags=(unconfined) {
  userns,

  include if exists <local/mayfly>
}
`
}

export function setupSteps(source: SetupSource): readonly SetupStep[] {
  const found = source.surroundings ?? findSurroundings(source)
  return [
    packages(source),
    ...namespaces(source, found),
    ...landlock(source),
    ...delegation(source, found),
    ...subordinates(source),
  ]
}

function packages({ hasProgram, root = '/' }: SetupSource): SetupStep {
  const programs = {
    bwrap: 'bubblewrap',
    unshare: 'util-linux',
    cc: 'gcc libc6-dev',
    python3: 'python3',
  }
  const lacking = Object.entries(programs).filter(([program]) => !hasProgram(program))
  const names = lacking.flatMap(([, name]) => name.split(' '))
  const isDebian = existsSync(path.join(root, 'etc/debian_version'))
  const words = ['apt-get', 'install', '-y', '--no-install-recommends', ...names] as const
  return {
    name: 'packages',
    why: 'bubblewrap and util-linux make namespaces, a C compiler the launcher and the sentinel, Python runs programs',
    isDone: lacking.length === 0,
    actions: lacking.length > 0 && isDebian ? [{ kind: 'run', words }] : [],
    ...(!isDebian && {
      byHand: `Install ${basePackages.join(', ')} with this system's package manager`,
    }),
    undo: isDebian
      ? `apt-get remove ${names.join(' ') || basePackages.join(' ')}`
      : 'Remove them with it',
  }
}

/** Steps that enable user namespaces, by the setting that disables them. */
function namespaces(
  source: SetupSource,
  { namespacesClosedBy, container }: Surroundings,
): readonly SetupStep[] {
  if (container !== null && namespacesClosedBy === null) return []
  const name = 'user namespaces'
  const why =
    'ordinary users get walls made of namespaces; without them programs run below a keeper'
  if (namespacesClosedBy?.startsWith('kernel.apparmor_')) {
    const text = apparmorProfile(source.node)
    return [
      {
        name,
        why,
        isDone: readIn(source, PROFILE) === text,
        actions: [
          { kind: 'file', path: PROFILE, text },
          { kind: 'run', words: ['apparmor_parser', '--replace', '--write-cache', PROFILE] },
        ],
        undo: `apparmor_parser --remove ${PROFILE} && rm ${PROFILE}`,
      },
    ]
  }
  if (namespacesClosedBy === null) return [{ name, why, isDone: true, actions: [], undo: '' }]
  const [key = ''] = namespacesClosedBy.split(' ')
  const text = `# Mayfly: walls are made of user namespaces.\n${key} = ${key === 'kernel.unprivileged_userns_clone' ? 1 : NAMESPACES_MAX}\n`
  return [
    {
      name,
      why,
      isDone: false,
      actions: [
        { kind: 'file', path: SYSCTL, text },
        { kind: 'run', words: ['sysctl', '--load', SYSCTL] },
      ],
      undo: `rm ${SYSCTL}, and boot`,
    },
  ]
}

function landlock(source: SetupSource): readonly SetupStep[] {
  const modules = readIn(source, '/sys/kernel/security/lsm')
  if (modules === undefined) return []
  return [
    {
      name: 'landlock',
      why: 'adds a layer of file access control, and a wall for programs without namespaces',
      isDone: modules.split(',').includes('landlock'),
      actions: [],
      byHand: `Add lsm=landlock,${modules.trim()} to the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub), and boot`,
      undo: 'Remove it there, and boot',
    },
  ]
}

/** Delegates cgroup v2 controllers to the services of an ordinary user. */
function delegation(
  source: SetupSource,
  { canDelegateCgroups }: Surroundings,
): readonly SetupStep[] {
  if (source.user === 'root' || !canDelegateCgroups) return []
  const text = '[Service]\nDelegate=cpu cpuset io memory pids\n'
  return [
    {
      name: 'control groups',
      why: "the kernel enforces limits of memory, CPU and processes for an ordinary user's walls, instead of polling",
      isDone: readIn(source, DELEGATION) === text,
      actions: [
        { kind: 'file', path: DELEGATION, text },
        { kind: 'run', words: ['systemctl', 'daemon-reload'] },
      ],
      undo: `rm ${DELEGATION} && systemctl daemon-reload; in force at the next login`,
    },
  ]
}

/** Subordinate uids for rootless containers. */
function subordinates(source: SetupSource): readonly SetupStep[] {
  const { user, hasProgram } = source
  if (user === 'root' || !hasProgram('newuidmap')) return []
  const linesOf = (file: string) => (readIn(source, file) ?? '').split('\n')
  const has = (file: string) => linesOf(file).some((line) => line.startsWith(`${user}:`))
  const { count } = SUBORDINATES
  const first = firstFree([...linesOf('/etc/subuid'), ...linesOf('/etc/subgid')])
  const range = `${first}-${first + count - 1}`
  const line = `${user}:${first}:${count}`
  const step = {
    name: 'subordinate uids',
    why: `rootless containers of "${user}" need uids of their own`,
    isDone: has('/etc/subuid') && has('/etc/subgid'),
  }
  // usermod(8) knows accounts alone, subuid(5) also takes a bare uid.
  if (/^\d+$/.test(user)) {
    const byHand = `Add the line "${line}" to /etc/subuid and to /etc/subgid`
    return [{ ...step, actions: [], byHand, undo: 'remove both lines' }]
  }
  return [
    {
      ...step,
      actions: [
        { kind: 'run', words: ['usermod', '--add-subuids', range, '--add-subgids', range, user] },
      ],
      undo: `usermod --del-subuids ${range} --del-subgids ${range} ${user}`,
    },
  ]
}

/** First id of a range that no line of subuid(5) has: users who share a range could reach each other's containers. */
function firstFree(lines: readonly string[]): number {
  const taken = lines
    .map((line) => line.split(':').slice(1).map(Number))
    .filter(([first = NaN]) => first >= 0)
    .sort(([a = 0], [b = 0]) => a - b)
  let { least: free } = SUBORDINATES
  for (const [first = 0, count = 0] of taken)
    if (first < free + SUBORDINATES.count && first + count > free) free = first + count
  return free
}

function readIn({ root = '/' }: SetupSource, file: string): string | undefined {
  return readableTextOf(path.join(root, file))
}
