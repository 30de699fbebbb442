import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseSentinelMessage } from './sentinel-wire.ts'

suite('The messages of a sentinel', () => {
  test('Names are decoded as they are on disk, and invalid UTF-8 is harmless', () => {
    assert.equal(pathIn('/work/\\u00c3\\u00a9'), '/work/é')
    assert.equal(pathIn('/bin/true'), '/bin/true')
    assert.equal(pathIn('\\u00a9/cut'), '\ufffd/cut')
    assert.equal(pathIn('\\u0022\\u005c\\u000a'), '"\\\n')
  })

  test('Messages that are unknown, have extra members or are too long are refused', () => {
    assert.equal(parseSentinelMessage('{"kind":"opened"}'), undefined)
    assert.equal(parseSentinelMessage('{"kind":"capturing","processes":1,"more":1}'), undefined)
    assert.equal(parseSentinelMessage('{"kind":"capturing","processes":-1}'), undefined)
    assert.equal(pathIn('x'.repeat(301)), undefined)
    assert.equal(parseSentinelMessage('{'), undefined)
  })
})

function pathIn(path: string): string | undefined {
  const message = parseSentinelMessage(
    `{"kind":"asks","id":"1","pid":2,"path":"${path}","real":"","by":[]}`,
  )
  return message && 'path' in message ? message.path : undefined
}
