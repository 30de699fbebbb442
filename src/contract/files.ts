import type { JobFile } from './job.ts'

/** As many as Linux follows. */
const LINKS_MAX = 40

/** The files of a job where there are no folders and no links: a link stands for the file it leads to. */
export function plainFiles(files: readonly JobFile[]): readonly JobFile[] {
  if (files.every(({ type = 'file' }) => type === 'file')) return files
  const byPath = new Map(files.map((file) => [normalPath(file.path), file]))
  return files.flatMap(({ path, type, ...file }): readonly JobFile[] => {
    if (type === 'folder') return []
    const target = type === 'link' ? targetOf({ path, type, ...file }, byPath) : file
    return target ? [{ path, content: target.content, encoding: target.encoding }] : []
  })
}

/** The file at the end of a chain of links; undefined where it leads to none of the job's. */
function targetOf(link: JobFile, byPath: ReadonlyMap<string, JobFile>): JobFile | undefined {
  let file: JobFile | undefined = link
  for (let hops = 0; file?.type === 'link' && hops < LINKS_MAX; hops++) {
    file = byPath.get(normalPath(`${folderOf(file.path)}/${file.content}`))
  }
  return file?.type === 'link' || file?.type === 'folder' ? undefined : file
}

/** Without empty parts, `.` and `..`. */
export function normalPath(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return parts.join('/')
}

/** Of a path with slashes; empty where it has none. */
export function folderOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''
}

/** Whether a path is that of JavaScript or TypeScript, by its suffix; declarations are none, for no program loads them. */
export function isCodePath(path: string): boolean {
  return /\.(?:[cm]?[jt]s|[jt]sx)$/.test(path) && !/\.d\.[cm]?ts$/.test(path)
}
