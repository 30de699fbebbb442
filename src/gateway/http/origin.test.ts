import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isLoopback, serverNames, parseAuthority } from './origin.ts'

const knows = (bound: string, host: string, local = bound) => {
  const authority = parseAuthority(host)
  return authority !== undefined && serverNames(bound, () => 7420).knows(authority, local)
}

test('A loopback server knows loopback names and addresses, on any port', () => {
  for (const host of ['127.0.0.1:7420', 'localhost:1', 'LOCALHOST', '[::1]:7420', '127.0.0.2']) {
    assert.ok(knows('127.0.0.1', host), host)
  }
})

test('A name outside the list is unknown (DNS rebinding)', () => {
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '10.0.0.1',
    '0x7f.1',
  ]) {
    assert.ok(!knows('127.0.0.1', host), host)
  }
  assert.ok(knows('Mayfly.example', 'mayfly.Example:443', '10.0.0.1'))
})

test('A wildcard bind knows every address, and still no unlisted name', () => {
  assert.ok(knows('0.0.0.0', '192.168.1.7:7420', '192.168.1.7'))
  assert.ok(!knows('0.0.0.0', 'evil.example', '192.168.1.7'))
})

test('A static origin has a known name and the static port', () => {
  const known = serverNames('127.0.0.1', () => 7420)
  assert.ok(known.isStatic('http://localhost:7420', undefined))
  for (const origin of [
    'http://localhost:7421',
    'http://evil.example:7420',
    'null',
    'file://',
    'http://localhost:7420/x',
    'ftp://localhost:7420',
  ]) {
    assert.ok(!known.isStatic(origin, undefined), origin)
  }
})

test('Malformed authorities are rejected', () => {
  for (const text of ['', 'a b', 'a@b', 'a/b', '[::1', '[zz]', 'a:b', 'a:123456', 'a:1:2', 'é']) {
    assert.equal(parseAuthority(text), undefined, text)
  }
})

test('Loopback is 127/8, ::1 and localhost', () => {
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost']) assert.ok(isLoopback(host))
  for (const host of ['0.0.0.0', '128.0.0.1', '127.evil.example', '::'])
    assert.ok(!isLoopback(host))
})
