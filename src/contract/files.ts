import type { JobFile } from './job.ts'

/** Linux follows at most 40 links (MAXSYMLINKS). */
const LINKS_MAX = 40

/** The files of a job without folders and links: each link is replaced by the file it leads to. */
export function plainFiles(files: readonly JobFile[]): readonly JobFile[] {
  if (files.every(({ type = 'file' }) => type === 'file')) return files
  const byPath = new Map(files.map((file) => [normalPath(file.path), file]))
  return files.flatMap(({ path, type, ...file }): readonly JobFile[] => {
    if (type === 'folder') return []
    const target = type === 'link' ? targetOf({ path, type, ...file }, byPath) : file
    return target ? [{ path, content: target.content, encoding: target.encoding }] : []
  })
}

/** File at the end of a chain of links; undefined if it is not one of the job's. */
function targetOf(link: JobFile, byPath: ReadonlyMap<string, JobFile>): JobFile | undefined {
  let file: JobFile | undefined = link
  for (let hops = 0; file?.type === 'link' && hops < LINKS_MAX; hops++) {
    file = byPath.get(normalPath(`${folderOf(file.path)}/${file.content}`))
  }
  return file?.type === 'link' || file?.type === 'folder' ? undefined : file
}

/** Removes empty, `.` and `..` segments. */
export function normalPath(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return parts.join('/')
}

/** Parent of a slash path; empty for a bare name. */
export function folderOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''
}

/** True for JavaScript and TypeScript by suffix; false for declarations, which no program loads. */
export function isCodePath(path: string): boolean {
  return /\.(?:[cm]?[jt]s|[jt]sx)$/.test(path) && !/\.d\.[cm]?ts$/.test(path)
}
