import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
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

  test('A usual machine is tried by a single chain of programs', () => {
    const { facts, started } = onPrograms({})
    assert.deepEqual(started, ['setpriv', 'unshare'])
    assert.deepEqual([facts.namespaces, facts.proc], [true, true])
    assert.ok(facts.setpriv)
  })

  test('A chain that fails names the missing part: /proc, setpriv or namespaces', () => {
    const found = (broken: Parameters<typeof onPrograms>[0], hide?: readonly string[]) => {
      const { facts } = onPrograms(broken, hide)
      return [facts.namespaces, facts.proc, facts.setpriv !== undefined]
    }
    const maskedProc = 'case "$*" in *--mount-proc*) exit 1;; esac'
    assert.deepEqual(found({ unshare: maskedProc }), [true, false, true])
    assert.deepEqual(found({}, ['proc']), [true, false, true])
    assert.deepEqual(found({ setpriv: 'exit 1' }), [true, true, false])
    assert.deepEqual(found({ setpriv: 'exit 1', unshare: maskedProc }), [true, false, false])
    assert.deepEqual(found({ unshare: 'exit 1' }), [false, false, true])
    assert.deepEqual(found({ setpriv: 'exit 1', unshare: 'exit 1' }), [false, false, false])
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

/** Facts found with played programs, each of which logs its name, runs its line, and becomes the next one. */
function onPrograms(
  lines: { readonly setpriv?: string; readonly unshare?: string },
  hide: readonly string[] = [],
) {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-facts-'))
  const log = path.join(folder, 'log')
  for (const name of ['setpriv', 'unshare'] as const) {
    const becomes = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
    const text = `#!/bin/sh\necho ${name} >> ${log}\n${lines[name] ?? ''}\n${becomes}\n`
    writeFileSync(path.join(folder, name), text, { mode: 0o755 })
  }
  const before = process.env['PATH']
  process.env['PATH'] = `${folder}:${before}`
  try {
    const facts = findJailFacts(hide)
    return { facts, started: readFileSync(log, 'utf8').trim().split('\n') }
  } finally {
    process.env['PATH'] = before
    rmSync(folder, { recursive: true })
  }
}
