import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { test } from 'node:test'
import { refusalText, unkeptText } from '../folder-wall/refusal-text.ts'
import { shellWord } from './shell-word.ts'
import { whyUnreadable } from './why-unreadable.ts'

const errorOf = (code: string) =>
  Object.assign(new Error(`${code}: text`), { code, syscall: 'open' })

test('An error of a file is told in words, and other errors by their text', () => {
  const texts = ['ENOENT', 'EISDIR', 'ETXTBSY'].map((code) => whyUnreadable('x', errorOf(code)))
  assert.deepEqual(texts, [
    { because: 'there is no such file or folder' },
    { because: 'it is a folder' },
    { because: 'ETXTBSY' },
  ])
  assert.deepEqual(whyUnreadable('x', new Error('it is odd')), { because: 'it is odd' })
})

test('A denied file is named with what closes it and with the command that opens it', () => {
  const { because, hint } = whyUnreadable(import.meta.filename, errorOf('EACCES'))
  const owner = statSync(import.meta.filename).uid === 0 ? 'root' : 'uid'
  assert.match(
    because,
    /^the file "\/.*why-unreadable\.test\.ts" is (?:closed to this user|private to )/,
  )
  assert.match(hint ?? '', /chmod o\+r \/.*why-unreadable/)
  assert.ok(because.includes(owner) || because.endsWith('this user'))
})

test('Attack: a name in a command that a hint tells is one word of a shell', () => {
  for (const name of ['$(echo out)', '`echo out`', "it's", 'a b;echo out', '"; echo out; "', '~']) {
    const said = execFileSync('sh', ['-c', `printf %s ${shellWord(name)}`], { encoding: 'utf8' })
    assert.equal(said, name)
  }
  const refusal = { what: 'read', path: '/work/a;id', rule: 'secret', name: 'keys' } as const
  assert.match(refusalText(refusal, '/work'), /"--read 'a;id'" permits reading it/)
  assert.match(unkeptText(['/h/x'], '/work', '/h/a;id'), /"--write '.*a;id'" keeps it/)
})
