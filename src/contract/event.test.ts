import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { points } from './event.ts'

const root = join(import.meta.dirname, '../..')
/** A call that emits, or a tuple of a point and its fields. */
const emitting = /(?:emit|tell|say|report|[rR]ecord|recordEvent)\w*\(|\[\s*(?='seen\/)/g
const reach = 200

test('Every declared point is emitted', () => {
  const emitted = new Set<string>()
  for (const file of globSync('src/**/*.ts', { cwd: root })) {
    if (file.endsWith('.test.ts')) continue
    const text = readFileSync(join(root, file), 'utf8')
    for (const { index } of text.matchAll(emitting))
      for (const [, point] of text.slice(index, index + reach).matchAll(/['`](\w+\/[\w-]+)['`]/g))
        emitted.add(point!)
    // The kinds that the watcher itself observes.
    if (text.includes('`seen/${kind}`')) for (const kind of watched) emitted.add(`seen/${kind}`)
  }
  assert.deepEqual(
    points.filter((point) => !emitted.has(point)),
    [],
  )
})

const watched = ['honeytoken', 'capability'] as const
