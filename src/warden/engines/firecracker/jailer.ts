import assert from 'node:assert/strict'
import path from 'node:path'
import { isWallUid } from '../../../contract/uids.ts'

/**
 * Arguments of Firecracker's jailer, and the folder that it makes. The jailer trusts its arguments, so each value is checked
 * here: an id that is a path, or a uid of 0, would be an escape.
 */
export interface JailerOptions {
  /** Unique on this machine. */
  readonly id: string
  /** Absolute path of the program that is copied into the jail. */
  readonly execFile: string
  /** Uid and gid of the wall. */
  readonly uid: number
  readonly gid: number
  /** Writable by root alone, on a file system without `noexec` and `nodev`. */
  readonly chrootBase: string
  /** Largest file in bytes that the process may write: its snapshots have the size of its memory. */
  readonly fileBytesMax: number
  /** RLIMIT_NOFILE: the highest descriptor plus one. */
  readonly descriptorsMax: number
}

/** Place of a jail. */
export type JailLocation = Pick<JailerOptions, 'chrootBase' | 'execFile' | 'id'>

/** Sockets directly in the root of the jail: a folder in between could be replaced by a symbolic link. */
export const apiSocket = 'api.sock'
export const vsockSocket = 'v.sock'

const ID = /^[A-Za-z0-9-]{1,64}$/

/** Arguments of the jailer. Throws AssertionError for an invalid value. */
export function jailerArguments(options: JailerOptions, isUid = isWallUid): readonly string[] {
  const { id, execFile, uid, gid, chrootBase, fileBytesMax, descriptorsMax } = options
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
    ...stayingInGroup(id),
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

/** Host path of the root of a jail: `<base>/<name of the program>/<id>/root`. */
export function jailRoot(place: JailLocation): string {
  return path.join(jailFolder(place), 'root')
}

/** Folder of a jail, which is removed with all its contents. */
export function jailFolder({ chrootBase, execFile, id }: JailLocation): string {
  assert(ID.test(id), `The id "${id}" is not 1 to 64 letters, digits and hyphens`)
  return path.join(chrootBase, path.basename(execFile), id)
}

/** File to which the jailer writes the host pid of the process in the new PID namespace. */
export function pidFile(parts: JailLocation): string {
  return path.join(jailRoot(parts), `${path.basename(parts.execFile)}.pid`)
}

/**
 * The jailer stays in the cgroup in which it was started, whose limits are read back and lowered while a job runs. With cgroup
 * version 2 and no limits it makes none, and joins the one of `--parent-cgroup` if it exists. The given name does not exist; the
 * default, the name of the program, might.
 */
function stayingInGroup(id: string): readonly string[] {
  return ['--cgroup-version', '2', '--parent-cgroup', `none-${id}`]
}

function assertCount(value: number): void {
  assert(Number.isSafeInteger(value) && value > 0, `The limit ${value} is not a positive integer`)
}

/** Asserts an absolute, normalised path, because the jailer joins and copies paths as root. */
function assertPath(file: string): void {
  const isPlain = path.isAbsolute(file) && path.normalize(file) === file && !file.includes('\0')
  assert(isPlain && !file.endsWith('/'), `The path "${file}" is not absolute and normal`)
}
