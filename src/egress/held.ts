import type { Config } from '../contract/config.ts'
import { MayflyError } from '../contract/error.ts'
import type { Credential } from './credentials.ts'

/**
 * The credentials that a configuration names, with their values from the environment of whoever runs the server. Throws
 * MayflyError CONFIG for one that is not there: a job that counts on it would send its placeholder.
 */
export function credentialsFrom(
  named: Config['credentials'],
  env: NodeJS.ProcessEnv,
): readonly Credential[] {
  return named.map(({ name, env: variable, header, hosts }) => {
    const value = env[variable]
    if (value) return { name, value, header, hosts }
    throw new MayflyError('CONFIG', `Cannot find the value of the credential "${name}"`, {
      hint: `Set the variable "${variable}" for Mayfly, or remove the credential`,
    })
  })
}
