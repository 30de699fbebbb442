import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const module = fileURLToPath(new URL('../../src/lib/cache-folder.ts', import.meta.url))
const isRoot = process.getuid?.() === 0

/** Runs a script as root with an empty /var/cache that ends with it, under this umask; returns what it prints. */
function inEmptyCache(umask: string, script: string): unknown {
  const shell = `mount -t tmpfs none /var/cache && umask ${umask} && exec "$0" --input-type=module -e "$1"`
  const args = ['--mount', '--propagation', 'private', 'sh', '-c', shell, process.execPath, script]
  const done = spawnSync('unshare', args, { encoding: 'utf8', timeout: 60_000 })
  assert.equal(done.status, 0, done.stderr)
  return JSON.parse(done.stdout)
}

const modes = (...folders: readonly string[]) =>
  `const { statSync } = await import('node:fs')
   console.log(JSON.stringify(${JSON.stringify(folders)}.map((one) => (statSync(one).mode & 0o777).toString(8))))`

test(
  "Walls' uids can traverse root's cache, for any creator and any umask",
  { skip: !isRoot && 'only root has walls with uids of their own' },
  () => {
    const script = `
      const { cacheFolder, makeCacheFolder } = await import(${JSON.stringify(module)})
      makeCacheFolder(cacheFolder('agent'), 0o700)
      ${modes('/var/cache/mayfly', '/var/cache/mayfly/agent')}`
    assert.deepEqual(inEmptyCache('022', script), ['755', '700'])
    assert.deepEqual(inEmptyCache('077', script), ['755', '700'])
  },
)

test(
  'A cache with too strict a mode is made traversable, and its folders keep their modes',
  { skip: !isRoot && 'only root has walls with uids of their own' },
  () => {
    const script = `
      const { mkdirSync } = await import('node:fs')
      const { cacheFolder, makeCacheFolder } = await import(${JSON.stringify(module)})
      mkdirSync(cacheFolder('agent'), { recursive: true, mode: 0o700 })
      makeCacheFolder(cacheFolder('machines'), 0o755)
      ${modes('/var/cache/mayfly', '/var/cache/mayfly/agent', '/var/cache/mayfly/machines')}`
    assert.deepEqual(inEmptyCache('022', script), ['755', '700', '755'])
  },
)
