import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Package mirror that this machine uses. */
export interface AptSource {
  readonly address: string
  /** Keyring of its signatures, if the sources name one. */
  readonly key: string | undefined
}

const SOURCES = '/etc/apt'

/** The mirror of the distribution, not of its security updates: the URL path ends with the name of the distribution. */
export function ownSource(): AptSource | undefined {
  for (const text of sourceTexts()) {
    const address = /\b(https?:\/\/\S+\/debian)\/?(?=\s|$)/m.exec(text)?.[1]
    if (address) return { address, key: /^Signed-By:\s*(\S+)/m.exec(text)?.[1] }
  }
  return undefined
}

/** Stanzas of the `.sources` files, and lines of the older lists. */
function sourceTexts(): readonly string[] {
  const parts = join(SOURCES, 'sources.list.d')
  const files = [
    ...(existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : []),
    join(SOURCES, 'sources.list'),
  ]
  return files
    .filter((place) => /\.(list|sources)$/.test(place) && existsSync(place))
    .flatMap((place) =>
      readFileSync(place, 'utf8').split(place.endsWith('.list') ? '\n' : /\n\s*\n/),
    )
    .filter((text) => !/^\s*#/.test(text) || text.includes('\n'))
}
