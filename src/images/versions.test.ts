import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { cvssScore, ratingOf } from './cvss.ts'
import { compareDebianVersions } from './debian-version.ts'
import { compareSemanticVersions } from './semantic-version.ts'

suite('Versions', () => {
  test('Versions of Debian are in the order of deb-version(7)', () => {
    const sorted = [
      '0~rc1',
      '0',
      '1.0~~',
      '1.0~~a',
      '1.0~',
      '1.0',
      '1.0-0.1',
      '1.0-1~bpo12+1',
      '1.0-1',
      '1.0-1+b1',
      '1.0-1+b10',
      '1.0a',
      '1.0+dfsg',
      '1.2',
      '1.10',
      '1:0.1',
      '1:1.37.0-6+b9',
    ]
    for (const [i, one] of sorted.entries())
      for (const [j, other] of sorted.entries())
        assert.equal(
          Math.sign(compareDebianVersions(one, other) ?? NaN),
          Math.sign(i - j),
          `${one} ${other}`,
        )
  })

  test('Equal versions of Debian compare as equal', () => {
    for (const [one, other] of [
      ['1.0', '0:1.0'],
      ['1.01', '1.1'],
      ['1-0', '1'],
      ['1.0-00', '1.0-0'],
    ] as const)
      assert.equal(compareDebianVersions(one, other), 0)
  })

  test('Text that is no version of Debian has no order', () => {
    for (const text of ['', ' ', '1 2', 'a:1', '1:', '-1', '1_2', 'ü', '1'.repeat(300)])
      assert.equal(compareDebianVersions(text, '1'), undefined, text)
  })

  test('Semantic versions are in the order of their specification', () => {
    const sorted = [
      '1.0.0-alpha',
      '1.0.0-alpha.1',
      '1.0.0-alpha.beta',
      '1.0.0-beta',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0-rc.1',
      '1.0.0',
      '1.0.1',
      '1.2.0',
      '1.10.0',
      '26.10.0',
    ]
    for (const [i, one] of sorted.entries())
      for (const [j, other] of sorted.entries())
        assert.equal(
          Math.sign(compareSemanticVersions(one, other) ?? NaN),
          Math.sign(i - j),
          `${one} ${other}`,
        )
    assert.equal(compareSemanticVersions('v1', '1.0.0+build'), 0)
    assert.equal(compareSemanticVersions('latest', '1'), undefined)
  })

  test('Base scores of CVSS 3 are those of published vectors', () => {
    const published: readonly (readonly [string, number, string])[] = [
      ['CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H', 9.8, 'critical'],
      ['CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H', 10, 'critical'],
      ['CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N', 6.1, 'medium'],
      ['CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H', 7.8, 'high'],
      ['CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N', 6.4, 'medium'],
      ['CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N', 1.6, 'low'],
      ['CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N', 0, 'negligible'],
    ]
    for (const [vector, score, rating] of published) {
      assert.equal(cvssScore(vector), score, vector)
      assert.equal(ratingOf(score), rating)
    }
    for (const text of [
      '',
      'CVSS:4.0/AV:N',
      'CVSS:3.1/AV:N',
      'CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H',
    ])
      assert.equal(cvssScore(text), undefined)
  })
})
