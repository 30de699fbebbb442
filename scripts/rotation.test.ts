import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { groupOf, groups, rotated } from './rotation.ts'
import { filesOf, suiteNames } from './suites.ts'

const files = suiteNames.flatMap((name) => filesOf(name))
const rankBy = (seed: number) => (file: string) =>
  createHash('sha256').update(`${seed} ${file}`).digest().readUInt32BE()
const none = new Set<string>()

test('A share of each group runs, by a seed, and over many seeds each file', () => {
  const seen = new Set<string>()
  for (let seed = 0; seed < 60; seed++) {
    const { taken, left } = rotated(files, rankBy(seed), none)
    for (const file of taken) seen.add(file)
    assert.equal(taken.length + left.length, files.length)
    for (const group of groups) {
      const own = files.filter((file) => groupOf(file) === group)
      const run = own.filter((file) => taken.includes(file))
      assert.equal(run.length, Math.ceil(own.length / group.share))
    }
  }
  assert.deepEqual(
    files.filter((file) => !seen.has(file)),
    [],
  )
})

test('Each group has files, and all of it runs where its sources changed', () => {
  for (const group of groups) {
    const own = files.filter((file) => groupOf(file) === group)
    assert.ok(own.length > 0, `${group.files}`)
    for (const place of group.about) {
      const { left } = rotated(files, rankBy(1), new Set([`${place}x`]))
      assert.ok(!left.some((file) => own.includes(file)), place)
    }
  }
})

test('A file that changed runs, and one that imports what changed; pure tests are never left out', () => {
  const { left } = rotated(files, rankBy(2), none)
  const [changed] = left
  assert.ok(rotated(files, rankBy(2), new Set([changed!])).taken.includes(changed!))
  const imported = new Set(['src/os/find-program.ts'])
  const users = left.filter((file) => /'\..*os\/find-program\.ts'/.test(readFileSync(file, 'utf8')))
  assert.ok(users.length > 0)
  const { taken } = rotated(files, rankBy(2), imported)
  for (const file of users) assert.ok(taken.includes(file), file)
  for (const file of left) assert.match(file, /^tests\//)
})
