import assert from 'node:assert/strict'
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { changePrivate, readPrivate, versionOf } from './private-file.ts'
import { ownHooks } from '../../tests/fixtures/own-hooks.ts'

let folder: string
let path: string

const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-private-'))
  path = join(folder, 'below', 'file.json')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const broken = () => {
  throw new RangeError('no')
}

const write = (text: string) => changePrivate(path, () => ({ text, value: undefined }))

test('A file is replaced atomically, with its own mode, and leaves no temporary file', () => {
  assert.equal(readPrivate(path), undefined)
  assert.equal(versionOf(path), 'none')
  write('one')
  const version = versionOf(path)
  const value = changePrivate(path, (text) => ({ text: `${text} two`, value: 7 }))
  assert.deepEqual([value, readPrivate(path)], [7, 'one two'])
  assert.notEqual(versionOf(path), version)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(join(folder, 'below')), ['file.json'])
})

test('A change that throws leaves the old content', () => {
  write('one')
  assert.throws(() => changePrivate(path, broken), RangeError)
  assert.equal(readFileSync(path, 'utf8'), 'one')
  assert.deepEqual(readdirSync(join(folder, 'below')), ['file.json'])
})

test('A lock of a dead process is broken', () => {
  write('one')
  const lock = `${path}.lock`
  writeFileSync(lock, '')
  utimesSync(lock, 0.001, 1)
  write('two')
  assert.equal(readPrivate(path), 'two')
})

test('A lock from before the clock was set back is broken', () => {
  write('one')
  const lock = `${path}.lock`
  writeFileSync(lock, '')
  const tomorrow = Date.now() / 1000 + 86_400
  utimesSync(lock, tomorrow, tomorrow)
  write('two')
  assert.equal(readPrivate(path), 'two')
})
