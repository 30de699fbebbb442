import assert from 'node:assert/strict'
import { test } from 'node:test'
import { usualBase64 } from './usual-base64.ts'

test('Base64 gets its usual spelling, and other text has none', () => {
  for (const [text, usual] of [
    ['', ''],
    ['aGk=', 'aGk='],
    ['aGk', 'aGk='],
    ['aG\nk= \n', 'aGk='],
    ['-_-_', '+/+/'],
    ['aA = =', 'aA=='],
    ['!!!', undefined],
    ['a', undefined],
    ['aGk=aGk=', undefined],
    ['aGkaG', undefined],
    ['====', undefined],
    ['aGk=\0', undefined],
    ['ä===', undefined],
  ] as const)
    assert.equal(usualBase64(text), usual, JSON.stringify(text))
})

test('Four megabytes that fail at their last character are read once, not once for each character', () => {
  for (const filling of [' ', 'A', '= ', '\n=', ' ='])
    // A length that four divides: both checks read it.
    assert.equal(usualBase64(`${filling.repeat(2 ** 22 / filling.length).slice(1)}!`), undefined)
})
