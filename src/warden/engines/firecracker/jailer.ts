import assert from 'node:assert/strict'
import path from 'node:path'
import { wallUids } from '../../../contract/uids.ts'

/**
 * Arguments of Firecracker's jailer, and the folder that it makes. The jailer trusts all of its input, so each value is
 * checked here: an id that is a path, or a uid of 0, would be an escape that no later step repairs.
 */
export interface JailerOptions {
  /** Unique on this machine. */
  readonly id: string
  /** Absolute path of the program that is copied into the jail. */
  readonly execFile: string
  /** Uid and gid of the wall's slot. */
  readonly uid: number
  readonly gid: number
  /** Writable by root alone, on a file system without `noexec` and `nodev`. */
  readonly chrootBase: string
  readonly cgroup: JailCgroup
  /** Largest file in bytes that the process may write: its snapshots have the size of its memory. */
  readonly fileBytesMax: number
  /** RLIMIT_NOFILE: the highest descriptor plus one. */
  readonly descriptorsMax: number
}

/**
 * `inherited`: the jailer stays in the group in which it was started. Otherwise it makes a group of its id below `parent`,
 * with these limits.
 */
export type JailCgroup =
  | { readonly kind: 'inherited' }
  | {
      readonly kind: 'own'
      readonly version: 1 | 2
      /** Relative to the root of each hierarchy. */
      readonly parent: string
      readonly limits: JailLimits
    }

export interface JailLimits {
  readonly memoryBytes: number
  readonly tasks: number
  /** Cores. */
  readonly cpu?: number
}

/** Sockets in the root of the jail, without a folder between: such a folder could be a link that the jailed one planted. */
export const apiSocket = 'api.sock'
export const vsockSocket = 'v.sock'

const ID = /^[A-Za-z0-9-]{1,64}$/
const CPU_PERIOD_US = 100_000
/** Least quota that kernels take (kernel/sched/core.c, `min_cfs_quota_period`). */
const CPU_QUOTA_US_MIN = 1_000

/** Arguments of the jailer's command line. Throws AssertionError for a value outside its rules. */
export function jailerArguments(options: JailerOptions, isUid = isOfWalls): readonly string[] {
  const { id, execFile, uid, gid, chrootBase, cgroup, fileBytesMax, descriptorsMax } = options
  assert(ID.test(id), `The id "${id}" is not 1 to 64 letters, digits and hyphens`)
  assertPath(execFile)
  assertPath(chrootBase)
  assert(isUid(uid) && isUid(gid), `Uid ${uid} and gid ${gid} belong to no wall`)
  assertCount(fileBytesMax)
  assertCount(descriptorsMax)
  return [
    '--id',
    id,
    '--exec-file',
    execFile,
    '--uid',
    `${uid}`,
    '--gid',
    `${gid}`,
    '--chroot-base-dir',
    chrootBase,
    ...cgroupArguments(id, cgroup),
    '--resource-limit',
    `fsize=${fileBytesMax}`,
    '--resource-limit',
    `no-file=${descriptorsMax}`,
    '--new-pid-ns',
    '--',
    '--api-sock',
    `/${apiSocket}`,
  ]
}

/** Root of a jail as this machine sees it: `<base>/<name of the program>/<id>/root`. */
export function jailRoot({
  chrootBase,
  execFile,
  id,
}: Pick<JailerOptions, 'chrootBase' | 'execFile' | 'id'>): string {
  return path.join(jailFolder({ chrootBase, execFile, id }), 'root')
}

/** Folder of a jail, to be removed with all that is in it. */
export function jailFolder({
  chrootBase,
  execFile,
  id,
}: Pick<JailerOptions, 'chrootBase' | 'execFile' | 'id'>): string {
  assert(ID.test(id), `The id "${id}" is not 1 to 64 letters, digits and hyphens`)
  return path.join(chrootBase, path.basename(execFile), id)
}

/** File into which the jailer writes the pid of the process in the new PID namespace, as this machine counts it. */
export function pidFile(parts: Pick<JailerOptions, 'chrootBase' | 'execFile' | 'id'>): string {
  return path.join(jailRoot(parts), `${path.basename(parts.execFile)}.pid`)
}

/**
 * With version 2 and no limits the jailer makes no group, and moves into that of `--parent-cgroup` if there is one; its id
 * names none. Its default, the name of the program, might be there.
 */
function cgroupArguments(id: string, cgroup: JailCgroup): readonly string[] {
  if (cgroup.kind === 'inherited') return ['--cgroup-version', '2', '--parent-cgroup', `none-${id}`]
  const { version, parent, limits } = cgroup
  const isBelow = /^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/.test(parent)
  assert(isBelow, `The group "${parent}" is not below the root of its hierarchy`)
  const files = version === 1 ? limitsOf1(limits) : limitsOf2(limits)
  return [
    '--cgroup-version',
    `${version}`,
    '--parent-cgroup',
    parent,
    ...files.flatMap((file) => ['--cgroup', file]),
  ]
}

function limitsOf1({ memoryBytes, tasks, cpu }: JailLimits): readonly string[] {
  assertCount(memoryBytes)
  assertCount(tasks)
  return [
    `memory.limit_in_bytes=${memoryBytes}`,
    `pids.max=${tasks}`,
    ...(cpu === undefined
      ? []
      : [`cpu.cfs_period_us=${CPU_PERIOD_US}`, `cpu.cfs_quota_us=${quotaOf(cpu)}`]),
  ]
}

function limitsOf2({ memoryBytes, tasks, cpu }: JailLimits): readonly string[] {
  assertCount(memoryBytes)
  assertCount(tasks)
  return [
    `memory.max=${memoryBytes}`,
    'memory.swap.max=0',
    `pids.max=${tasks}`,
    ...(cpu === undefined ? [] : [`cpu.max=${quotaOf(cpu)} ${CPU_PERIOD_US}`]),
  ]
}

function quotaOf(cpu: number): number {
  assert(Number.isFinite(cpu) && cpu > 0, `${cpu} cores are no limit`)
  return Math.max(CPU_QUOTA_US_MIN, Math.floor(cpu * CPU_PERIOD_US))
}

function assertCount(value: number): void {
  assert(Number.isSafeInteger(value) && value > 0, `${value} is no limit`)
}

/** Normal and absolute: the jailer joins and copies as root. */
function assertPath(file: string): void {
  const isPlain = path.isAbsolute(file) && path.normalize(file) === file && !file.includes('\0')
  assert(isPlain && !file.endsWith('/'), `The path "${file}" is not absolute and normal`)
}

const isOfWalls = (id: number) => id >= wallUids.first && id <= wallUids.last
