/**
 * Makes the picture of the README from a real run: `node scripts/life-picture.ts` writes data and SVG to
 * docs/pictures. Needs a wall that runs Node with a network.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Outcome } from '../src/contract/outcome.ts'
import { lifeOf } from '../src/picture/life.js'
import { pictureOf } from '../src/picture/picture.js'
import { svgOf } from '../src/picture/svg.js'

const root = join(import.meta.dirname, '..')
const pictures = join(root, 'docs/pictures')
const told = runOnce()
const data = join(pictures, 'beacon.json')
writeFileSync(data, JSON.stringify(told))
execFileSync('oxfmt', [data])
writeFileSync(join(pictures, 'beacon.svg'), svgOf(pictureOf(lifeOf(told))))

/** Fields of the outcome that the picture needs. */
function runOnce() {
  const state = mkdtempSync(join(tmpdir(), 'mayfly-picture-'))
  try {
    const [job, config] = [join(pictures, 'beacon.js'), join(pictures, 'beacon.toml')]
    const args = ['run', job, '--once', '--config', config, '--allow', 'api.example.com', '--json']
    const text = outputOf([join(root, 'bin/mayfly.js'), ...args, '--state', state])
    const { status, error, tier, provider, stdout, stderr, timeline, profile, metrics } =
      JSON.parse(text) as Outcome
    const { explain } = profile
    return {
      status,
      error,
      tier,
      provider,
      stdout,
      stderr,
      timeline,
      profile: { explain },
      metrics,
    }
  } finally {
    rmSync(state, { recursive: true, force: true })
  }
}

/** Tolerates the non-zero exit code of a terminated job. */
function outputOf(args: readonly string[]): string {
  try {
    return execFileSync(process.execPath, args, { encoding: 'utf8' })
  } catch (thrown) {
    return (thrown as { readonly stdout: string }).stdout
  }
}
