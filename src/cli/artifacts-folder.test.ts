import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import type { Artifact } from '../contract/outcome.ts'
import { openArtifactsFolder } from './artifacts-folder.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

let folder: string
const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-artifacts-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function save(paths: readonly string[], text: string) {
  await using opened = await openArtifactsFolder(folder)
  const content = Buffer.from(text).toString('base64')
  return await opened.save(paths.map((path) => ({ path, content }) as Artifact))
}

/** Paths in one deep folder; each has almost as many characters as a path may have, of which most take 3 bytes. */
const longPaths = (letter: string) => {
  const deep = Array.from({ length: 11 }, () => letter.repeat(80)).join('/')
  return Array.from({ length: 750 }, (_, at) => `${deep}/${at}-${letter.repeat(80)}`)
}

suite('The list of written artifacts', () => {
  test('Attack: stays readable after runs that leave hundreds of artifacts of long paths, and has the newest', async () => {
    for (const letter of ['\u4e00', '\u4e8c'])
      assert.deepEqual(await save(longPaths(letter), 'a'), [])
    assert.deepEqual(await save(longPaths('\u4e8c'), 'b'), [])
    const list = join(folder, '.mayfly-artifacts.json')
    assert.ok(statSync(list).size <= 4 * 2 ** 20)
    assert.ok(Object.keys(JSON.parse(readFileSync(list, 'utf8')).files).length > 750)
  })

  test('Folders and files of a job are writable for their owner alone, whatever the umask', async () => {
    const before = process.umask(0)
    try {
      assert.deepEqual(await save(['sub/file'], 'a'), [])
    } finally {
      process.umask(before)
    }
    for (const name of ['sub', 'sub/file', '.mayfly-artifacts.json'])
      assert.equal(statSync(join(folder, name)).mode & 0o022, 0, name)
  })

  test('Keeps a file that each run writes, however many others there were since', async () => {
    const last = ['same.txt']
    await save(last, '1')
    await save(longPaths('\u4e00'), 'a')
    assert.deepEqual(await save(last, '2'), [])
    await save(longPaths('\u4e8c'), 'a')
    assert.deepEqual(await save(last, '3'), [])
  })

  test('Attack: a path with a control character is not saved', async () => {
    const [unsaved] = await save(['a\u0001b'], 'a')
    assert.equal(unsaved?.because, 'its path is not plain')
  })
})
