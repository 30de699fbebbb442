import { realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { loadConfig, readFile, trustedIn } from '../config/load.ts'
import { loosenings } from '../config/loosens.ts'
import { readTrusted, removeTrust, trustConfiguration, type TrustedFile } from '../config/trust.ts'
import { MayflyError } from '../contract/error.ts'
import { sha256 } from '../lib/hash.ts'
import { ownArguments } from '../lib/last-flag.ts'
import { parseJson } from '../lib/parse-json.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { printDocument, type CliIo } from './cli-io.ts'
import { commandWords } from './command-line.ts'
import type { Globals } from './print.ts'

export interface TrustOptions extends Globals {
  readonly list?: boolean
  readonly remove?: boolean
}

const usualFile = 'mayfly.toml'
/** Passes what root read to the re-executed process, whose user may not read the file. */
const TRUSTING = 'MAYFLY_TRUSTING'

/** `policy trust [FILE]`, with `--list` and `--remove`. Throws MayflyError USAGE, CONFIG or STATE. */
export function trust(file: string | undefined, options: TrustOptions, world: CliIo): void {
  const folder = trustedIn({ ...world, flags: { '--state': options.state } })
  if (folder === undefined)
    throw new MayflyError('USAGE', 'Cannot determine the state folder: use "--state"')
  if (options.list && options.remove)
    throw new MayflyError('USAGE', 'Cannot combine "--list" and "--remove"')
  if (options.list) return list(folder, options, world)
  if (options.remove) return remove(folder, file ?? usualFile, options, world)
  add(folder, file ?? usualFile, options, world)
}

/** Runs as root, before re-executing as the owner of the state folder. */
export function readAhead(argv: readonly string[]): void {
  const own = ownArguments(argv)
  if (own.includes('--list') || own.includes('--remove')) return
  const [, , file] = commandWords(argv)
  process.env[TRUSTING] = JSON.stringify(readNow(file ?? usualFile, process.cwd(), process.env))
}

interface Read extends Pick<TrustedFile, 'path' | 'sha256'> {
  readonly loosens: readonly string[]
}

function readNow(file: string, cwd: string, env: CliIo['env']): Read {
  // Validates first: an invalid configuration is not trusted.
  loadConfig({ file, cwd, env: { ...env, MAYFLY_ENV: undefined } })
  const { path, bytes, parsed } = readFile(file, cwd)
  const loosens = loosenings(parsed.values).map(({ path: key, because }) => {
    const at = parsed.locate(key)
    return `${parsed.file}:${at?.line ?? 1}:${at?.column ?? 1}: ${key.join('.')}: ${because}`
  })
  return { path: realpathSync(path), sha256: sha256(bytes), loosens }
}

function add(folder: string, file: string, options: TrustOptions, world: CliIo): void {
  const ahead = world.env[TRUSTING]
  const read =
    ahead === undefined ? readNow(file, world.cwd, world.env) : (parseJson(ahead) as Read)
  const entry = trustConfiguration(folder, read, new Date())
  if (options.json) return printDocument(world, { ...entry, loosens: read.loosens })
  if (options.quiet) return
  world.stdout(`Trusted as it is now: ${sanitiseLine(entry.path)}\n`)
  for (const line of read.loosens) world.stdout(`  ${sanitiseLine(line)}\n`)
}

function remove(folder: string, file: string, options: TrustOptions, world: CliIo): void {
  const path = resolve(world.cwd, file)
  if (!removeTrust(folder, path))
    throw new MayflyError('USAGE', `Cannot remove "${file}": it is not trusted`)
  if (options.json) return printDocument(world, { removed: path })
  if (!options.quiet) world.stdout(`No longer trusted: ${sanitiseLine(path)}\n`)
}

function list(folder: string, options: TrustOptions, world: CliIo): void {
  const rows = readTrusted(folder).map((one) => ({ ...one, now: stateOf(one) }))
  if (options.json) return printDocument(world, rows)
  for (const { path, now, since } of rows)
    world.stdout(`${now.padEnd(7)}  ${since}  ${sanitiseLine(path)}\n`)
}

function stateOf({ path, sha256: known }: TrustedFile): 'same' | 'changed' | 'gone' {
  try {
    return sha256(readFile(path, '/').bytes) === known ? 'same' : 'changed'
  } catch {
    return 'gone'
  }
}
