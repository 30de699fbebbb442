import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { zoneRulesMax } from '../../src/agent-wire/numbers.ts'
import { matches } from '../../src/warden/engines/processes/zone-rules.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { sampledRuns } from '../fixtures/drawn.ts'
import { fuzzLives } from '../fuzz/lives.ts'
import type { Seeded } from '../fuzz/seeded.ts'

/** Names of programs of zones, as the agent of a guest compares them, under its compiler's sanitizers. */
const root = path.join(import.meta.dirname, '../..')
const units = [
  path.join(root, 'tests/fixtures/match-names.c'),
  path.join(root, 'guest/agent/zone-rules.c'),
] as const
const skip = process.platform !== 'linux' ? 'it needs Linux' : noCompiler
const lives = process.env['MAYFLY_LONG'] ? 2000 : sampledRuns(40, import.meta.filename)
const pathsInOne = 200
const { E2BIG } = constants.errno

test(
  'Rules name a file by its path or the last part of it, by a link to it, and without the suffix of an unlinked one; the first applies',
  { skip },
  (t) =>
    fuzzLives(t, {
      units,
      lives: 1,
      live: async (file) => {
        const names = ['ffmpeg', '/opt/*/bin/x', 'sh', '/usr/bin/env*', '*.py']
        const shell = realpathSync('/bin/sh')
        const asked: readonly (readonly [asked: string, rule: number])[] = [
          ['/usr/bin/ffmpeg', 0],
          ['/usr/bin/ffmpeg2', -1],
          ['/ffmpeg/x', -1],
          ['/opt/a/b/bin/x', 1],
          ['/opt/bin/x', -1],
          [shell, 2],
          [`${shell} (deleted)`, 2],
          ['/work/sh (deleted)', 2],
          ['/usr/bin/env', 3],
          ['/work/a.py', 4],
          ['/work/.py', 4],
          ['/a.py/b', -1],
        ]
        assert.deepEqual(
          answers(
            file,
            names,
            asked.map(([one]) => one),
          ),
          [...names.map(() => 0), ...asked.map(([, rule]) => rule)],
        )
        const many = Array.from({ length: zoneRulesMax + 1 }, (_, index) => `name${index}`)
        const added = answers(file, many, [`/name${zoneRulesMax}`])
        assert.deepEqual(added, [...many.slice(1).map(() => 0), E2BIG, -1])
        // Longer than the room for all names.
        const long = Array.from({ length: 8 }, (_, index) => `${index}`.repeat(10_000))
        assert.deepEqual(answers(file, long, []), [0, 0, 0, 0, 0, 0, E2BIG, E2BIG])
      },
    }),
)

test(
  'Any name and any path are compared as on the host, without reading out of bounds',
  { skip },
  (t) =>
    fuzzLives(t, {
      units,
      lives,
      live: async (file, random) => {
        const name = `/none/${textOf(random, 'ab*/')}`
        const paths = Array.from({ length: pathsInOne }, () => `/none/${textOf(random, 'ab/')}`)
        // Path that fits in any case.
        paths.push(name.replaceAll('*', 'a'))
        const expected = paths.map((one) => (matches(name, one) ? 0 : -1))
        assert.equal(expected.at(-1), 0)
        assert.deepEqual(answers(file, [name], paths), [0, ...expected], JSON.stringify([name]))
      },
    }),
)

const textOf = (random: Seeded, characters: string) =>
  Array.from({ length: random.below(12) }, () => random.pick(characters.split(''))).join('')

function answers(
  file: string,
  names: readonly string[],
  paths: readonly string[],
): readonly number[] {
  const lines = [...names.map((name) => `+${name}\n`), ...paths.map((one) => `?${one}\n`)]
  const { stdout, stderr, status } = spawnSync(file, { input: lines.join('') })
  assert.equal(status, 0, stderr.toString())
  return stdout.toString().trim().split('\n').map(Number)
}
