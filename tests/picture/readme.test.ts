import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { lifeOf } from '../../src/picture/life.js'
import { pictureOf } from '../../src/picture/picture.js'
import { svgOf } from '../../src/picture/svg.js'

const root = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')

test('The picture in the README matches its run, and shows a phase cut short by an anomaly', () => {
  const told = JSON.parse(read('docs/pictures/beacon.json')) as Parameters<typeof lifeOf>[0]
  const picture = pictureOf(lifeOf(told))
  assert.equal(read('docs/pictures/beacon.svg'), svgOf(picture))
  assert.match(read('README.md'), /!\[[^\]]+\]\(docs\/pictures\/beacon\.svg\)/)
  assert.equal(picture.lanes[0]?.bands[0]?.cut?.isAnomaly, true)
})
