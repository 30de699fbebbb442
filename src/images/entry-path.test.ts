import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { checkedPath, checkedTarget, mergedPath } from './entry-path.ts'

suite('Paths of archives', () => {
  test('Paths are relative to the root of the image', () => {
    assert.equal(checkedPath('./'), '')
    assert.equal(checkedPath('./usr/bin/'), 'usr/bin')
    assert.equal(checkedPath('etc/ö.crt'), 'etc/ö.crt')
  })

  const refused = {
    'an absolute path': '/etc/passwd',
    'an absolute path behind a dot': './/etc/passwd',
    'a path that climbs': './usr/../../etc/passwd',
    'a path that ends above': 'usr/..',
    'an empty name': 'usr//bin',
    'a dot within': 'usr/./bin',
    'a line feed': 'usr/a\nb',
    'a zero byte': 'usr/a\0b',
    'a long name': 'a'.repeat(256),
    'a long path': 'abcdefgh/'.repeat(200),
  }
  for (const [what, path] of Object.entries(refused))
    test(`Attack: ${what} is refused`, () => {
      assert.throws(() => checkedPath(path), RangeError)
    })

  test('Paths below bin, lib, lib64 and sbin map to usr', () => {
    assert.equal(mergedPath('bin/sh'), 'usr/bin/sh')
    assert.equal(mergedPath('lib64/ld.so'), 'usr/lib64/ld.so')
    assert.equal(mergedPath('bin'), 'bin')
    assert.equal(mergedPath('binary/x'), 'binary/x')
  })

  test('Links stay in the image', () => {
    assert.equal(checkedTarget('usr/bin/a', '../lib/a'), '../lib/a')
    assert.equal(checkedTarget('usr/bin/a', '/etc/alternatives/a'), '/etc/alternatives/a')
    for (const target of ['../../../etc/passwd', '/../etc', '', 'a\nb', 'a/../../../../b'])
      assert.throws(() => checkedTarget('usr/bin/a', target), RangeError, target)
  })
})
