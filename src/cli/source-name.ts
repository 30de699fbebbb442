import path from 'node:path'
import { sourceName, type JobRequest } from '../contract/job.ts'

/**
 * Name of a job's source: includes its folder if files of that folder are brought, so that relative paths work
 * inside. Omits a name that is invalid for job files; only messages use it.
 */
export function nameOfSource(
  file: string,
  files: readonly { readonly path: string }[],
): Pick<JobRequest, 'name'> {
  if (file === '-') return {}
  const { success, data } = sourceName.safeParse(placeOf(file, files))
  return success ? { name: data } : {}
}

function placeOf(file: string, files: readonly { readonly path: string }[]): string {
  const place = path.relative('', file)
  const [top = '', ...below] = place.split(path.sep)
  const isAmong =
    top !== '..' && files.some((one) => path.normalize(one.path).startsWith(`${top}/`))
  return below.length > 0 && isAmong ? place : path.basename(file)
}
