import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stdinBytesMax } from './stdin-bound.ts'
import { argsAsked, envAsked, stdinAsked } from './surroundings.ts'

test('Arguments are text that execve takes, and a bounded number of it', () => {
  const good = [[], ['a', '', 'two words', 'line\nbreak', '--json', '\u{1f600}']]
  for (const args of good) assert.deepEqual(argsAsked.parse(args), args)
  const bad = [
    ['with\0nul'],
    ['lone \ud800'],
    ['x'.repeat(128 * 1024)],
    Array.from({ length: 100_000 }, () => 'a'),
    Array.from({ length: 9000 }, () => 'a'.repeat(100)),
    [1],
    'a b',
  ]
  for (const args of bad) assert.equal(argsAsked.safeParse(args).success, false)
})

test('A variable has a name of letters, and a value without NUL', () => {
  const good = { PATH: '/bin', HOME: '/work', _: '', A1: 'line\nbreak = more', PYTHONPATH: 'lib' }
  assert.deepEqual(envAsked.parse(good), good)
  const bad = ['', 'A=B', '1A', 'A B', 'A\0', 'a-b', 'É', 'A'.repeat(257), 'constructor.x']
  for (const name of bad) assert.equal(envAsked.safeParse({ [name]: 'x' }).success, false, name)
  for (const value of ['\0', '\ud800', 'x'.repeat(128 * 1024)])
    assert.equal(envAsked.safeParse({ A: value }).success, false)
  const many = Object.fromEntries(Array.from({ length: 1001 }, (_, n) => [`A${n}`, '']))
  assert.equal(envAsked.safeParse(many).success, false)
  const large = Object.fromEntries(
    Array.from({ length: 100 }, (_, n) => [`A${n}`, 'x'.repeat(100_000)]),
  )
  assert.equal(envAsked.safeParse(large).success, false)
})

test('Variables that make a loader, an interpreter or a shell run code ahead of the job are refused', () => {
  const names = [
    'LD_PRELOAD',
    'LD_LIBRARY_PATH',
    'LD_AUDIT',
    'GLIBC_TUNABLES',
    'NODE_OPTIONS',
    'NODE_CHANNEL_FD',
    'PYTHONSTARTUP',
    'PYTHONHOME',
    'BASH_ENV',
    'ENV',
    'SHELLOPTS',
    'PS4',
    'PERL5OPT',
    'PERL5DB',
    'BROWSER',
    'MAYFLY_RESULT',
    'HTTPS_PROXY',
    'no_proxy',
  ]
  for (const name of names) {
    const { error } = envAsked.safeParse({ [name]: 'x' })
    assert.match(error!.issues[0]!.message, new RegExp(`"${name}" cannot be set: `))
  }
})

test('Attack: PYTHONPATH with the standard input, which may be an archive of modules, is refused however it is spelt', () => {
  const isAccepted = (value: string) => envAsked.safeParse({ PYTHONPATH: value }).success
  for (const place of [
    '/dev/stdin',
    '//dev/stdin',
    '/dev/fd/0',
    '/proc/self/fd/0',
    '/proc/1/root/dev/stdin',
    '../dev/stdin',
    '../../../dev/./stdin',
    '/usr/../dev/stdin/sub',
  ])
    for (const value of [place, `lib:${place}`, `${place}:`]) assert.ok(!isAccepted(value), value)
  for (const value of ['', 'lib', 'lib:vendor/more:/work/lib', '/usr/lib/device', 'dev', 'proc/fd'])
    assert.ok(isAccepted(value), value)
})

test('The error about a variable omits its value', () => {
  const secret = `canary\0canary`
  const { error } = envAsked.safeParse({ TOKEN: secret, LD_PRELOAD: 'canary.so' })
  assert.equal(JSON.stringify(error!.issues).includes('canary'), false)
})

test('Standard input is text, or content with its encoding, and bounded', () => {
  assert.deepEqual(stdinAsked.parse('hé'), { content: 'hé', encoding: 'utf8' })
  assert.deepEqual(stdinAsked.parse({ content: 'AAE=', encoding: 'base64' }), {
    content: 'AAE=',
    encoding: 'base64',
  })
  const bad = [
    { content: 'no base64!', encoding: 'base64' },
    { content: 'x', encoding: 'hex' },
    { content: 'x', more: 1 },
    'x'.repeat(stdinBytesMax + 1),
    'é'.repeat(stdinBytesMax / 2 + 1),
    1,
  ]
  for (const stdin of bad) assert.equal(stdinAsked.safeParse(stdin).success, false)
})
