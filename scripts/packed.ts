import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { here } from './place.ts'
import { treeSeed } from './tree-seed.ts'

/** Made by the first that asks, under a lock: `npm pack` takes 20 s of processor time and fills `dist/` meanwhile. */
const script = `set -e
if ! [ -e "$1" ]; then
  rm -rf "$2"/*.tgz "$2/new"
  mkdir "$2/new"
  npm pack --pack-destination "$2/new" >&2
  mv "$2"/new/*.tgz "$1"
fi
cp "$1" "$3"`

/**
 * The npm package of this tree, in FOLDER; returns its path. The cache has one, for the newest tree that was packed. Throws Error
 * with the end of what npm printed.
 */
export function packedIn(folder: string): string {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  const kept = join(cache, 'mayfly/packed')
  mkdirSync(kept, { recursive: true })
  const file = join(folder, 'mayfly.tgz')
  const words = ['sh', '-c', script, 'sh', join(kept, `${treeSeed()}.tgz`), kept, file]
  const env = {
    ...process.env,
    PATH: [join(here.folder, 'node_modules/.bin'), process.env['PATH']].join(delimiter),
  }
  const options = { cwd: here.folder, env, encoding: 'utf8' } as const
  const { status, stderr } = spawnSync('flock', [join(kept, 'lock'), ...words], options)
  if (status !== 0) throw new Error(`Cannot pack: ${stderr.slice(-1000)}`)
  return file
}
