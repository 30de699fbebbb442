import { MayflyError } from '../../contract/error.ts'
import type { Identity, Keys, Scope } from './keys.ts'

/** Identity of the `Authorization` header; reads no other header. Throws MayflyError UNAUTHENTICATED. */
export function authenticate(header: string | undefined, keys: Keys): Identity {
  if (header === undefined)
    throw unauthenticated('Give an API key as "Authorization: Bearer mfy_…"')
  const key = /^bearer +([\x21-\x7e]+)$/i.exec(header)?.[1]
  const identity = key === undefined ? undefined : keys.find(key)
  if (!identity) throw unauthenticated('Cannot accept this API key', 'invalid_token')
  return identity
}

/** Requires one scope of `any`; admin includes all. Throws MayflyError FORBIDDEN. */
export function authorise(identity: Identity, any: readonly Scope[]): void {
  if (isAdmin(identity) || any.some((scope) => identity.scopes.includes(scope))) return
  const names = any.map((scope) => `"${scope}"`).join(' or ')
  const message = `Cannot authorise key "${identity.id}": it lacks the scope ${names}`
  throw new MayflyError('FORBIDDEN', message, { details: { scopes: any } })
}

export function isAdmin(identity: Identity): boolean {
  return identity.scopes.includes('admin')
}

/** 401 with the challenge of RFC 6750. */
export function unauthenticated(message: string, error?: 'invalid_token'): MayflyError {
  return new MayflyError('UNAUTHENTICATED', message, { details: error ? { error } : null })
}
