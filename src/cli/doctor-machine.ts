import os from 'node:os'
import known from '../../policies/node-fixes.json' with { type: 'json' }
import type { WardenFacts } from '../contract/warden.ts'
import { keyCustody, type KeyCustody } from './role.ts'
import { findSurroundings, readableTextOf, type Surroundings } from './surroundings.ts'

/** Facts of this machine that matter to walls. `null`: unknown. */
export interface Machine extends Surroundings {
  readonly system: string
  readonly kernel: string
  /** Day on which the kernel was built, as its version says. */
  readonly kernelBuilt: string | null
  readonly node: string
  readonly uid: number | null
  /** True if root starts the walls. */
  readonly root: boolean
  readonly namespaces: boolean
  /** Landlock ABI version; 0: none. */
  readonly landlock: number
  /** Version of usable cgroups; null: none. */
  readonly cgroups: 1 | 2 | null
  readonly bubblewrap: boolean
  /** SMT: tenants may share a core. */
  readonly smt: boolean | null
  /** KSM: the kernel merges equal pages of different processes. */
  readonly ksm: boolean | null
  readonly swap: boolean | null
  /** Protection of the signing key from the server process. */
  readonly keyCustody: KeyCustody
}

export function machineFacts({ root, machine }: WardenFacts): Machine {
  return {
    system: `${os.type()} ${os.arch()}`,
    kernel: os.release(),
    kernelBuilt: kernelBuilt(os.version()) ?? null,
    node: process.versions.node,
    uid: process.getuid?.() ?? null,
    root,
    ...machine,
    smt: flag('/sys/devices/system/cpu/smt/active'),
    ksm: flag('/sys/kernel/mm/ksm/run'),
    swap: swaps(),
    ...findSurroundings(),
    kvm: machine.kvm,
    keyCustody: keyCustody(),
  }
}

/** Warnings for the operator, one sentence each. */
export function warningsOf(machine: Machine): readonly string[] {
  return [
    ...lackingFixes(machine.node),
    ...oldKernel(machine, Date.now()),
    ...(machine.smt ? ['Hyper-threading is on: two tenants may share a core, and its caches'] : []),
    ...(machine.ksm
      ? ['KSM is on: a guest may detect memory contents of another one by timing']
      : []),
    ...(machine.swap ? ['Swap is on: memory of a guest may be written to a disk'] : []),
    ...closedNamespaces(machine),
    ...(machine.keyCustody === 'none' ? [custodyWarning(machine)] : []),
  ]
}

const DAY_MS = 86_400_000
const KERNEL_DAYS_MAX = 365

/** Day in `#1 SMP Debian 6.1.158-1 (2025-11-09)` or `#92-Ubuntu SMP Mon Aug 14 09:30:42 UTC 2023`. */
export function kernelBuilt(version: string): string | undefined {
  const [iso] = /\b20\d\d-\d\d-\d\d\b/.exec(version) ?? []
  const [, day, year] = /\b([A-Z][a-z]{2} +\d{1,2}) [\d:]+ \w+ (20\d\d)$/.exec(version) ?? []
  const at = Date.parse(iso ?? (day ? `${day} ${year} UTC` : ''))
  return Number.isNaN(at) ? undefined : new Date(at).toISOString().slice(0, 10)
}

function oldKernel({ kernel, kernelBuilt: built }: Machine, now: number): readonly string[] {
  const days = built === null ? 0 : Math.floor((now - Date.parse(built)) / DAY_MS)
  if (days <= KERNEL_DAYS_MAX) return []
  return [
    `The kernel ${kernel} was built ${days} days ago: walls are as good as the kernel below them`,
  ]
}

/** Root is not affected by the sysctl, except inside a user namespace. */
function closedNamespaces({ namespaces, namespacesClosedBy, container }: Machine): string[] {
  if (namespaces) return []
  const why = namespacesClosedBy ?? (container ? `the container of ${container}` : undefined)
  return why
    ? [
        `User namespaces are disabled by ${why}: programs run below a keeper instead, which needs Landlock and a C compiler`,
      ]
    : []
}

/** Applies when server and warden have the same uid, in one process or two. */
function custodyWarning({ landlock }: Machine): string {
  const shutOut =
    landlock > 0
      ? 'a server closes it to itself by Landlock, this command does not'
      : 'without Landlock, a compromised server can read it'
  return `The signing key is readable by the uid that Mayfly runs as: ${shutOut}`
}

/** Fixes missing in the running Node, one line per release. */
function lackingFixes(version: string): readonly string[] {
  const lacking = known.fixes.filter(({ fixedIn }) => isOlder(version, fixedIn))
  return [...Map.groupBy(lacking, ({ fixedIn }) => fixedIn)].map(([release, fixes]) => {
    const grave = fixes.filter(({ severity }) => severity === 'high').map(({ id }) => id)
    const named = grave.length > 0 ? `, of high severity: ${grave.join(', ')}` : ''
    return `Node ${version} lacks ${fixes.length} fixes of ${release}${named}; see docs/node-fixes.md`
  })
}

/** Compares within the known major version; a newer major is not judged. */
function isOlder(version: string, than: string): boolean {
  const [a = [], b = []] = [version, than].map((text) => text.split('.').map(Number))
  if (a[0] !== b[0]) return (a[0] ?? 0) < (b[0] ?? 0)
  return a[1] !== b[1] ? (a[1] ?? 0) < (b[1] ?? 0) : (a[2] ?? 0) < (b[2] ?? 0)
}

function flag(file: string): boolean | null {
  const text = readableTextOf(file)
  return text === undefined ? null : text.trim() === '1'
}

function swaps(): boolean | null {
  const text = readableTextOf('/proc/swaps')
  return text === undefined ? null : text.trim().split('\n').length > 1
}
