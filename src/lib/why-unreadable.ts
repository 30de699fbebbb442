import { resolve } from 'node:path'
import { attempt } from './attempt.ts'
import { closedPath } from './owner-files.ts'
import { shellWord } from './shell-word.ts'

/** Reason why a file or folder cannot be used, in words, and a cure where one is known. */
export interface WhyUnreadable {
  readonly because: string
  readonly hint?: string
}

const ROOT = 0
const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  ENOTDIR: 'a part of its path is no folder',
  EISDIR: 'it is a folder',
  ELOOP: 'its links lead in a circle',
  ENAMETOOLONG: 'its name is too long',
  EMFILE: 'this process has too many open files',
  ENFILE: 'this machine has too many open files',
  ENXIO: 'it is a socket or a device that is not there',
  EIO: 'the disk reports an error',
  EROFS: 'its file system is read-only',
  ENOSPC: 'the disk is full',
}

/** `thrown` is the error of a system call on that path; other errors give their own text. */
export function whyUnreadable(place: string, thrown: unknown): WhyUnreadable {
  const { code, syscall, message } = thrown as NodeJS.ErrnoException
  if (code === 'EACCES' || code === 'EPERM') return whyDenied(place)
  return {
    because: reasons[code ?? ''] ?? (syscall === undefined ? message : code) ?? 'unreadable',
  }
}

/** A server of root and its commands act as another user than their caller. */
function whyDenied(place: string): WhyUnreadable {
  const closed = attempt(() => closedPath(resolve(place)))
  if (!closed) return { because: 'this user may not read it' }
  const { uid, path, isFolder } = closed
  const what = `the ${isFolder ? 'folder' : 'file'} "${path}"`
  const owner = uid === ROOT ? 'root' : `uid ${uid}`
  const own = process.geteuid?.()
  const open = `chmod ${isFolder ? 'o+rx' : 'o+r'} ${shellWord(path)}`
  if (!isOfRoot())
    return { because: `${what} is closed to this user`, hint: `As ${owner}: ${open}` }
  return {
    because: `${what} is private to ${owner}, and Mayfly of root acts as uid ${own} here`,
    hint: `Open it to others, such as with "${open}"${uid === ROOT ? '' : `, or run the command as ${owner}`}`,
  }
}

/** True for a process that root's Mayfly started as another user, and for one of root that acts as such. */
const isOfRoot = (): boolean => process.getuid?.() === ROOT || Boolean(process.env['MAYFLY_ROLE'])
