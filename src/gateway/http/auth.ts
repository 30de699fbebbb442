import { MayflyError } from '../../contract/error.ts'
import type { Identity, Keys, Scope } from './keys.ts'

/** Who a request's `Authorization` header speaks for. Throws MayflyError UNAUTHENTICATED; reads nothing else. */
export function authenticate(header: string | undefined, keys: Keys): Identity {
  if (header === undefined)
    throw unauthenticated('Give an API key as "Authorization: Bearer mfy_…"')
  const key = /^bearer +([\x21-\x7e]+)$/i.exec(header)?.[1]
  const identity = key === undefined ? undefined : keys.find(key)
  if (!identity) throw unauthenticated('Cannot accept this API key', 'invalid_token')
  return identity
}

/** Scope admin includes every other. Throws MayflyError FORBIDDEN unless one of `any` is held. */
export function authorise(identity: Identity, any: readonly Scope[]): void {
  if (isAdmin(identity) || any.some((scope) => identity.scopes.includes(scope))) return
  throw new MayflyError(
    'FORBIDDEN',
    `Cannot do this with key "${identity.id}": it lacks the scope`,
    {
      details: { scopes: any },
    },
  )
}

export function isAdmin(identity: Identity): boolean {
  return identity.scopes.includes('admin')
}

/** A 401 that says how to ask again (RFC 6750). */
export function unauthenticated(message: string, error?: 'invalid_token'): MayflyError {
  return new MayflyError('UNAUTHENTICATED', message, { details: error ? { error } : null })
}
