import path from 'node:path'
import { sourceName, type JobRequest } from '../contract/job.ts'

/**
 * What a job calls its source: with its folder where files of that folder come along, so that what lies beside it does so
 * inside too. A name that no file of a job may have is left out: nothing depends on it but messages.
 */
export function nameOf(
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
