import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { MayflyError } from '../../../contract/error.ts'
import {
  assertSameVersion,
  assertVersion,
  keepsVsockOverPause,
  readVersion,
  setsClock,
} from './version.ts'

suite('The version of Firecracker', () => {
  test('Releases with a known escape, builds that are no release and other texts are refused with the cause', () => {
    const texts: readonly (readonly [text: string, why: RegExp])[] = [
      ['1.14.3', /1\.14\.3 has a vulnerability .*CVE-2026-5747/],
      ['Firecracker v1.15.0\n', /1\.15\.0 has a vulnerability/],
      ['Firecracker v1.12.9', /vulnerability/],
      ['0.99.99', /vulnerability/],
      ['1.17.0-dev', /1\.17\.0-dev is a development build/],
      ['', /cannot be parsed/],
      ['1.15', /cannot be parsed/],
      ['v1.15.1', /cannot be parsed/],
      ['1.15.1\u001b[2J', /version "1\.15\.1\\u001b\[2J" cannot be parsed/],
      ['1.15.1 or so', /cannot be parsed/],
      ['99999.1.1', /cannot be parsed/],
      ['1'.repeat(100_000), /cannot be parsed/],
    ]
    for (const [text, why] of texts)
      assert.throws(
        () => assertVersion(text, 'firecracker'),
        (error: MayflyError) =>
          error.code === 'UNAVAILABLE' &&
          why.test(error.message) &&
          /1\.14\.4/.test(error.hint ?? ''),
        text.slice(0, 40),
      )
  })

  test('Releases from 1.14.4 and from 1.15.1 on are accepted', () => {
    for (const text of [
      '1.14.4',
      '1.14.10',
      '1.15.1',
      '1.16.0',
      'Firecracker v1.16.1\n\nmore',
      'Jailer v2.0.0',
    ])
      assertVersion(text, 'firecracker')
  })

  test('A jailer of another release is refused', () => {
    const [vmm, jailer] = ['Firecracker v1.15.1', 'Jailer v1.14.4'].map((text) =>
      readVersion(text)!,
    )
    assertSameVersion(vmm!, vmm!)
    assert.throws(
      () => assertSameVersion(jailer!, vmm!),
      /is 1\.14\.4, and that of Firecracker 1\.15\.1/,
    )
  })

  test('Abilities follow the release', () => {
    const of = (text: string) => readVersion(text)!
    assert.deepEqual(
      ['1.14.4', '1.15.1', '1.16.0', '1.16.1', '1.16.2', '1.17.0'].map((text) =>
        keepsVsockOverPause(of(text)),
      ),
      [true, true, false, false, true, true],
    )
    assert.deepEqual(
      ['1.14.4', '1.15.9', '1.16.0', '2.0.0'].map((text) => setsClock(of(text), 'x64')),
      [false, false, true, true],
    )
    assert.equal(setsClock(of('1.16.2'), 'arm64'), false)
  })
})
