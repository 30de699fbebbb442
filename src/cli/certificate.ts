import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../contract/config.ts'
import { MayflyError } from '../contract/error.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import type { Tls } from '../gateway/http/tls.ts'
import { isPipe, readPlainFile } from '../lib/file-descriptor.ts'
import { note, type Globals } from './print.ts'

/** Certificate of this server, if any. Throws MayflyError CONFIG for an unreadable file. */
export async function tlsOf(
  { server, state }: Config,
  now: number,
  flags: Globals,
): Promise<Tls | undefined> {
  const { tls_cert, tls_key, tls_dev } = server
  if (tls_dev) {
    const { developmentCertificate } = await import('../gateway/http/development-authority.ts')
    const { authorityFile, cert, key } = developmentCertificate(join(state, 'tls'), now)
    note(flags, `Development authority: ${authorityFile}`)
    return { cert, key, isLasting: false }
  }
  if (tls_cert === undefined || tls_key === undefined) return undefined
  const files = { cert: tls_cert, key: tls_key }
  return { cert: await readPem(tls_cert), key: await readPem(tls_key), isLasting: true, files }
}

async function readPem(file: string): Promise<string> {
  try {
    return isPipe(file) ? await readFile(file, 'utf8') : readPlainFile(file)
  } catch (cause) {
    throw new MayflyError(
      'CONFIG',
      `Cannot read "${file}": ${whyUnreadable(file, cause).because}`,
      {
        hint: 'The server reads it with its own uid, not as root',
        cause,
      },
    )
  }
}
