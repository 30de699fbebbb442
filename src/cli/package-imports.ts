import { isBuiltin } from 'node:module'
import type { JobRequest } from '../contract/job.ts'

/** Imports of relative files, in text. */
export const RELATIVE = /(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\()\s*["']\.{0,2}\//
const IMPORT = /(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\()\s*(["'])([^"'\n]{1,214})\1/g

/** True if the text seems to import a package. A false positive costs an unused mount. */
export function importsPackage(code: string): boolean {
  return namesIn(code).length > 0
}

/** Package names without subpaths. */
export function namesIn(code: string): readonly string[] {
  return [...code.matchAll(IMPORT)].flatMap(([, , name = '']) => {
    const [own] = /^(?:@[^/]+\/)?[A-Za-z0-9][^/]*/.exec(name) ?? []
    return own === undefined || name.includes(':') || isBuiltin(name) ? [] : [own]
  })
}

/** False if no package can be found by the source: then nothing of packages needs to be loaded. */
export function mayImport({ code = '' }: Pick<JobRequest, 'code'>): boolean {
  return importsPackage(code) || RELATIVE.test(code)
}
