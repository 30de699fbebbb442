import type { Config } from '../contract/config.ts'
import { MayflyError } from '../contract/error.ts'
import type { Credential } from './credentials.ts'

/**
 * Credentials of the configuration, with values from the server's environment. Throws MayflyError CONFIG for a
 * missing value, as a job would send the placeholder instead, and for one that no header can have.
 */
export function credentialsFrom(
  named: Config['credentials'],
  env: NodeJS.ProcessEnv,
): readonly Credential[] {
  return named.map(({ name, env: variable, header, hosts }) => {
    const value = env[variable]
    if (value && !/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value))
      throw new MayflyError('CONFIG', `Cannot send the value of the credential "${name}"`, {
        hint: `Set the variable "${variable}" to printable ASCII, without spaces or lines at its ends`,
      })
    if (value) return { name, value, header, hosts }
    throw new MayflyError('CONFIG', `Cannot find the value of the credential "${name}"`, {
      hint: `Set the variable "${variable}" for Mayfly, or remove the credential`,
    })
  })
}
