import assert from 'node:assert/strict'
import { existsSync, lstatSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { suite, test } from 'node:test'
import { RootFolders, type RootContent } from './root-folders.ts'

const skip = process.platform !== 'linux' && 'its folders lie in /tmp'
const content: RootContent = {
  folders: ['/usr', '/dev/shm'],
  files: ['/opt/mayfly/bin/node'],
  texts: { '/etc/hosts': '127.0.0.1 localhost\n' },
  links: [{ at: '/bin', target: 'usr/bin' }],
  copies: [],
}

suite('Roots of walls of runsc', { skip }, () => {
  test('A root is created once, leased before that, and removed with its lease', () => {
    const { roots, leases } = stand()
    const place = roots.take('node', () => {
      assert.equal(leases.size, 1)
      return content
    })
    assert.equal(
      roots.take('node', () => assert.fail('made twice')),
      place,
    )
    const at = (name: string) => path.join(place, name)
    assert.ok(lstatSync(at('usr')).isDirectory() && lstatSync(at('bin')).isSymbolicLink())
    assert.equal(readFileSync(at('etc/hosts'), 'utf8'), '127.0.0.1 localhost\n')
    assert.equal(lstatSync(at('opt/mayfly/bin/node')).size, 0)
    roots.close()
    assert.deepEqual([existsSync(place), leases.size], [false, 0])
  })

  test('A root that cannot be written leaves nothing', () => {
    const { roots, leases } = stand()
    const broken = () => ({ ...content, copies: ['/there/is/no/such/file'] })
    assert.throws(() => roots.take('node', broken), /ENOENT/)
    assert.equal(leases.size, 0)
    roots.close()
  })
})

function stand() {
  const leases = new Set<string>()
  const roots = new RootFolders({
    lease: (id) => void leases.add(id),
    releaseLease: (id) => void leases.delete(id),
  })
  return { roots, leases }
}
