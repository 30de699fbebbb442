import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, suite, test } from 'node:test'
import { FolderOwners } from './folder-owners.ts'

const root = mkdtempSync(path.join(tmpdir(), 'mayfly-owners-'))
after(() => rmSync(root, { recursive: true, force: true }))
const [one, two, mine] = ['w0123456789abcdef', 'tfedcba9876543210', 'w1111111111111111']
let count = 0
const base = () => path.join(root, String((count += 1)))

/** A process that notes two folders, says so, and lives on. */
async function warden(folder: string) {
  const file = JSON.stringify(new URL('folder-owners.ts', import.meta.url).href)
  const code = `const { FolderOwners } = await import(${file})
const owners = new FolderOwners(${JSON.stringify(folder)})
for (const id of ${JSON.stringify([one, two])}) owners.note(id)
console.log('noted'); setInterval(() => owners, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return child
}

const sweptBy = (owners: FolderOwners): readonly string[] => {
  const swept: string[] = []
  owners.sweep((id) => void swept.push(id))
  return swept.sort()
}

suite('Folders of walls', () => {
  test('are removed once their warden is dead, after any kind of end, and not before', async () => {
    const folder = base()
    const child = await warden(folder)
    const owners = new FolderOwners(folder)
    owners.note(mine)
    try {
      assert.deepEqual(sweptBy(owners), [])
      assert.equal(readdirSync(folder).length, 2)
    } finally {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    assert.deepEqual(sweptBy(owners), [two, one])
    assert.deepEqual(sweptBy(owners), [])
    owners.forget(mine)
    assert.deepEqual(readdirSync(folder), [])
  })

  test('are never removed by the warden that owns them, and are forgotten one by one', () => {
    const folder = base()
    const owners = new FolderOwners(folder)
    owners.note(one)
    owners.note(two)
    owners.forget(one)
    assert.deepEqual(sweptBy(owners), [])
    assert.deepEqual(sweptBy(new FolderOwners(folder)), [])
    owners.forget(two)
    owners.forget(two)
    assert.deepEqual(readdirSync(folder), [])
    owners.note(one)
    assert.equal(readdirSync(folder).length, 1)
    owners.forget(one)
  })

  test('Attack: nothing is noted or removed in a folder that others may write to, or behind a link', () => {
    const open = base()
    mkdirSync(open)
    chmodSync(open, 0o777)
    const planted = path.join(open, 'planted')
    mkdirSync(planted)
    for (const name of ['lock', one]) symlinkSync('/dev/null', path.join(planted, name))
    const link = base()
    const own = base()
    mkdirSync(own, { mode: 0o700 })
    symlinkSync(own, link)
    for (const folder of [open, link]) {
      const owners = new FolderOwners(folder)
      owners.note(two)
      assert.deepEqual(sweptBy(owners), [], folder)
    }
    assert.deepEqual([readdirSync(open), readdirSync(own)], [['planted'], []])
  })

  test('Attack: a name that is no wall’s is not removed', () => {
    const folder = base()
    mkdirSync(path.join(folder, 'dead'), { recursive: true, mode: 0o700 })
    for (const name of ['lock', '..x', 'w01', `${one}x`, 'etc', two])
      writeFileSync(path.join(folder, 'dead', name), '')
    assert.deepEqual(sweptBy(new FolderOwners(folder)), [two])
    assert.deepEqual(readdirSync(folder), [])
  })
})
