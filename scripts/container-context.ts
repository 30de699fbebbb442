import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packedIn } from './packed.ts'
import { here } from './place.ts'

/**
 * Makes a build context of the container image in FOLDER: the Containerfile, and the npm package installed in `app`. The build
 * then needs neither npm nor a registry of packages.
 */
export function makeContainerContext(folder: string): void {
  const packed = mkdtempSync(join(tmpdir(), 'mayfly-packed-'))
  try {
    mkdirSync(join(folder, 'app'), { recursive: true })
    copyFileSync(join(here.folder, 'examples/docker/Containerfile'), join(folder, 'Containerfile'))
    const install = ['install', '--ignore-scripts', '--no-audit', '--no-fund']
    run(packed, 'npm', ...install, '--prefix', join(folder, 'app'), packedIn(packed))
  } finally {
    rmSync(packed, { recursive: true, force: true })
  }
}

function run(cwd: string, program: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`Cannot run "${program} ${args[0]}": ${stderr.slice(-1000)}`)
}

if (import.meta.main) {
  const [, , folder] = process.argv
  if (!folder) throw new Error('Call it with a folder: node scripts/container-context.ts FOLDER')
  makeContainerContext(folder)
}
