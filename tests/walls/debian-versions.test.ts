import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { constantFrom, sample, string, tuple } from 'fast-check'
import { compareDebianVersions } from '../../src/images/debian-version.ts'

// Without it, CI fails.
const skip = !existsSync('/usr/bin/dpkg') && process.env['CI'] !== 'true' && 'dpkg is missing'
const part = (characters: string) =>
  string({ unit: constantFrom(...characters.split('')), maxLength: 5 })
const version = tuple(
  constantFrom('', '', '0:', '1:', '12:'),
  constantFrom('0', '1', '9', '10'),
  part('0019aZ.+~'),
  constantFrom('', '', '-'),
  part('019aZ.+~'),
).map(
  ([epoch, first, rest, dash, revision]) =>
    `${epoch}${first}${rest}${dash === '' || revision === '' ? '' : `-${revision}`}`,
)
const pairs = 150

test('Versions of Debian packages have the order of dpkg', { skip }, () => {
  const seed = Date.now() >>> 0
  const samples = sample(tuple(version, version), { numRuns: pairs, seed })
  // A shell for all pairs: starting a process for each takes longer than comparing them.
  const script = `while read -r a b; do
    if dpkg --compare-versions "$a" lt "$b"; then echo -1
    elif dpkg --compare-versions "$a" gt "$b"; then echo 1; else echo 0; fi; done`
  const input = samples.map(([a, b]) => `${a} ${b}\n`).join('')
  const { stdout } = spawnSync('sh', ['-c', script], { input, encoding: 'utf8', timeout: 240_000 })
  const lines = stdout.trim().split('\n')
  assert.equal(lines.length, pairs)
  for (const [at, [a, b]] of samples.entries())
    assert.equal(
      Math.sign(compareDebianVersions(a, b) ?? NaN),
      Number(lines[at]),
      `${a} ${b}, seed ${seed}`,
    )
})
