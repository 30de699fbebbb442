import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { findJailFacts, systemFolders } from './facts.ts'
import { findProgram } from '../os/find-program.ts'
import { serverUid, wallUids } from '../contract/uids.ts'

suite('Features of a machine for a jail', () => {
  test('Hidden programs and layers are missing, and no others', () => {
    const hidden = findJailFacts(['unshare', 'setpriv', 'bwrap', 'namespaces', 'root', 'landlock'])
    assert.deepEqual(hidden, {
      platform: process.platform,
      root: false,
      namespaces: false,
      proc: false,
      landlock: 0,
      setpriv: undefined,
      unshare: undefined,
      bubblewrap: undefined,
    })
    assert.equal(findJailFacts(['setpriv']).unshare, findJailFacts().unshare)
  })

  test('Without unshare there are no namespaces', () => {
    assert.equal(findJailFacts(['unshare']).namespaces, false)
  })

  test('A program is found in absolute folders only, never in a job’s working folder', () => {
    const before = process.env['PATH']
    process.env['PATH'] = `.:${import.meta.dirname}:relative`
    try {
      assert.equal(findProgram('facts.test.ts'), undefined)
      assert.equal(findProgram('no-such-program'), undefined)
    } finally {
      process.env['PATH'] = before
    }
    assert.match(findProgram('sh') ?? '', /^\/.*\/sh$/)
  })

  test('Symlinks of the system are recreated, folders are mounted', () => {
    const { mounts, links } = systemFolders()
    assert.ok(mounts.includes('/usr'))
    assert.deepEqual(
      mounts.filter((folder) => links.some(({ at }) => at === folder)),
      [],
    )
  })

  test('The uids of walls and of the server are disjoint, and fit the map of a container', () => {
    assert.ok(
      serverUid < wallUids.first && wallUids.first < wallUids.last && wallUids.last < 65_536,
    )
  })
})
