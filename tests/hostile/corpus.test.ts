import assert from 'node:assert/strict'
import { test } from 'node:test'
import { escapedWord, families, sourceOf } from './case.ts'
import { allCases, corpus } from './corpus.ts'

const sourceBytesMax = 32 * 2 ** 20

test('The corpus has more than a hundred cases, some in every family, with unique names', () => {
  assert.ok(allCases.length >= 130)
  assert.equal(new Set(allCases.map(({ name }) => name)).size, allCases.length)
  for (const family of families) assert.ok(corpus[family].length >= 10, family)
})

test('Every case is in its own family, with a reason and its permitted ends', () => {
  for (const family of families) {
    for (const { name, family: own, because, expect } of corpus[family]) {
      assert.equal(own, family, name)
      assert.ok(because.length > 3 && expect.length > 0, name)
    }
  }
})

test('No source contains the success word in one piece, so that an echo of a source is no evidence', () => {
  for (const { name, code, second } of allCases) {
    for (const source of [code, second?.code ?? '']) {
      assert.ok(!sourceOf(source).includes(escapedWord), name)
    }
  }
})

test('Every source is accepted at the entry point, so that the sandbox is under test', () => {
  for (const { name, code } of allCases) {
    assert.ok(Buffer.byteLength(sourceOf(code)) <= sourceBytesMax, name)
  }
})

test('The advisories on vm2 of 2026 are covered by a case each', () => {
  const cited = allCases.map(({ because }) => because).join()
  for (const advisory of advisories) assert.ok(cited.includes(advisory), advisory)
})

const advisories = [
  'CVE-2026-22709',
  'CVE-2026-44000',
  'CVE-2026-44008',
  'CVE-2026-45411',
  'CVE-2026-47210',
  'CVE-2026-92956',
  'GHSA-27g9-p43v-cw3v',
  'GHSA-2cm2-m3w5-gp2f',
  'GHSA-2v2p-6j97-cjg9',
  'GHSA-47x8-96vw-5wg6',
  'GHSA-55hx-c926-fr95',
  'GHSA-647f-g98j-qq25',
  'GHSA-6785-pvv7-mvg7',
  'GHSA-76w7-j9cq-rx2j',
  'GHSA-9qj6-qjgg-37qq',
  'GHSA-9vg3-4rfj-wgcm',
  'GHSA-c4cf-2hgv-2qv6',
  'GHSA-fcqc-726x-5wfc',
  'GHSA-ffh4-j6h5-pg66',
  'GHSA-gjq8-xm47-88rc',
  'GHSA-grj5-jjm8-h35p',
  'GHSA-hw58-p9xv-2mjh',
  'GHSA-m283-3h24-438v',
  'GHSA-m5q2-4fm3-vfqp',
  'GHSA-q3fm-4wcw-g57x',
  'GHSA-qcp4-v2jj-fjx8',
  'GHSA-v27g-jcqj-v8rw',
  'GHSA-v37h-5mfm-c47c',
  'GHSA-v6mx-mf47-r5wg',
  'GHSA-v836-6xw4-9cx3',
  'GHSA-vwrp-x96c-mhwq',
]
