import { sep } from 'node:path'

/** Whether an absolute path is this folder, or lies beneath it. Reads neither: links and `..` are resolved by the caller. */
export function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}
