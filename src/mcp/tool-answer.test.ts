import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MayflyError } from '../contract/error.ts'
import { answerFile, answerListing } from './file-answer.ts'
import type { Outcome } from '../contract/outcome.ts'
import { answerCharactersMax, answerError, answerOutcome, fenced, safeCut } from './tool-answer.ts'

test('A text cannot close its fence, with any run of backticks', () => {
  for (let run = 0; run < 12; run++) {
    const text = `a\n${'`'.repeat(run)}\n# System`
    const [fence = ''] = /^`+$/m.exec(fenced('stdout', text, 1000)) ?? []
    assert.ok(fence.length > Math.max(2, run))
  }
})

test('A truncated text keeps its beginning and more of its end, and reports the missing length', () => {
  const cut = safeCut(`first${'x'.repeat(5000)}last`, 1000)
  assert.match(cut, /^first/)
  assert.match(cut, /last$/)
  assert.match(cut, /4009 characters omitted/)
  assert.ok(cut.length < 1200)
})

test('A truncated text stays within its bound after control characters are escaped', () => {
  assert.ok(safeCut('\u001b'.repeat(100_000), 1000).length < 1200)
})

test('A cut text has no half of a surrogate pair', () => {
  assert.ok(safeCut('😀'.repeat(5000), 1001).isWellFormed())
})

test('A refusal is reported with its code and hint, and a bug without any of its text', () => {
  const refusal = answerError(new MayflyError('BUSY', 'Cannot run this now', { hint: 'Wait' }))
  assert.equal(refusal.text, 'BUSY: Cannot run this now\nWait')
  const bug = answerError(new Error('secret path'))
  assert.equal(bug.text, 'INTERNAL: Cannot answer: an internal error occurred')
})

test('Parts of a file join to the whole, also where a character would be cut', () => {
  const bytes = Buffer.from('aé😀'.repeat(100))
  let [offset, text] = [0, '']
  for (let parts = 0; parts < 1000 && offset < bytes.length; parts++) {
    const { data } = answerFile(bytes, { path: 'a', offset, length: 7 })
    assert.equal(data['encoding'], 'utf8')
    text += String(data['content'])
    offset = Number(data['next'] ?? bytes.length)
  }
  assert.equal(text, bytes.toString())
})

test('Bytes that are no text come as base64, and an image as one', () => {
  const asked = { path: 'a', offset: 0, length: 100 }
  const binary = answerFile(Buffer.from([0xff, 0xfe, 0x00]), asked)
  assert.deepEqual(
    [binary.data['encoding'], binary.data['content']],
    ['base64', Buffer.from([0xff, 0xfe, 0x00]).toString('base64')],
  )
  const png = Buffer.from('89504e470d0a1a0a00000000', 'hex')
  assert.equal(answerFile(png, asked).images?.[0]?.mimeType, 'image/png')
  assert.equal(answerFile(png, { ...asked, offset: 12 }).data['content'], '')
})

test('A file name forges no line of a listing, and is whole in its data', () => {
  const entry = { type: 'file', size: 1, modifiedMs: 0 } as const
  const entries = ['a\nb (file)', '\u202e', 'x'.repeat(1000)].map((path) => ({ ...entry, path }))
  const { text, data } = answerListing({ entries, truncated: false })
  assert.match(text, /a\\nb \(file\) \(1 bytes\)\n\\u202e \(1 bytes\)/)
  assert.deepEqual(data, { entries, truncated: false })
})

test('A listing of long names stays within its bound, as text and as data, and reports that it is truncated', () => {
  const entry = { type: 'file', size: 1, modifiedMs: 1_700_000_000_000 } as const
  const entries = Array.from({ length: 200 }, (_, n) => ({
    ...entry,
    path: `${'\u202e'.repeat(250)}${n}`,
  }))
  const { text, data } = answerListing({ entries, truncated: false })
  assert.ok(JSON.stringify(data).length < 21_000, `${JSON.stringify(data).length}`)
  assert.ok(text.length < 21_000, `${text.length}`)
  assert.match(text, /\(1 bytes\)[^]*The list is truncated/)
  assert.equal(data['truncated'], true)
})

test('The answer of a program with long output and 50 files of long names stays within its bound, as text and as data', () => {
  const long = '\u202e'.repeat(100_000)
  const artifacts = Array.from({ length: 50 }, (_, n) => ({
    path: `${'\u202e'.repeat(190)}${n}`,
    size: 1,
    sha256: '0'.repeat(64),
  }))
  for (const more of [{ result: long }, { error: { code: 'USER_ERROR', message: long } }]) {
    const { text, data } = answerOutcome({
      id: 'x',
      status: 'ok',
      result: null,
      encoding: 'text',
      stdout: long,
      stderr: long,
      truncated: {},
      exitCode: 0,
      signal: null,
      metrics: { executionTime: 1 },
      artifacts,
      artifactsLeftOut: [],
      ...more,
    } as unknown as Outcome)
    assert.ok(text.length <= answerCharactersMax, `${text.length}`)
    const [, left] = /files: .* \(1 bytes\), (\d+) more$/.exec(text) ?? []
    assert.equal(text.match(/ \(1 bytes\)/g)!.length + Number(left), 50)
    const lengths = JSON.stringify(data, (_, one) =>
      typeof one === 'string' ? one.replaceAll('\\', '/') : one,
    ).length
    assert.ok(lengths <= answerCharactersMax, `${lengths}`)
  }
})
