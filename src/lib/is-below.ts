import { sep } from 'node:path'

/** True if an absolute path is this folder, or below it. Compares text only: the caller resolves symlinks and `..`. */
export function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}
