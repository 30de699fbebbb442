import { readFileSync } from 'node:fs'
import { parseJson } from '../lib/parse-json.ts'

/** The part of `policies/folder.json` that grants use; the jail uses the rest. */
interface GrantPolicy {
  readonly system: { readonly shown: readonly string[] }
  readonly tools: {
    readonly folders: readonly { readonly from: string; readonly shows: readonly string[] }[]
  }
  readonly environment: {
    readonly leftOut: readonly { readonly name: string; readonly why: string }[]
    readonly set: Readonly<Record<string, string>>
  }
}

let read: GrantPolicy | undefined

export function grantPolicy(): GrantPolicy {
  const file = new URL('../../policies/folder.json', import.meta.url)
  read ??= parseJson(readFileSync(file, 'utf8')) as GrantPolicy
  return read
}
