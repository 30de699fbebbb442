import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { deploymentFile } from './deployment-files.ts'

const server = { node: '/opt/node', program: '/srv/app/bin/mayfly.js' }
const startOf = (text: string) => /^ExecStart=(.*)$/m.exec(text)?.[1]

test('The printed unit is that of the examples, with the paths of this installation', () => {
  const printed = deploymentFile('systemd', { ...server, config: '/etc/mayfly.toml' })
  assert.equal(
    startOf(printed),
    '/opt/node /srv/app/bin/mayfly.js serve --state /var/lib/mayfly --config /etc/mayfly.toml',
  )
  const unit = new URL('../../examples/systemd/mayfly.service', import.meta.url)
  const example = readFileSync(unit, 'utf8')
  assert.equal(printed.replace(startOf(printed)!, startOf(example)!), example)
})

test('A unit of an ordinary user has a state folder that systemd makes', () => {
  const printed = deploymentFile('systemd', { ...server, user: 'mayfly' })
  assert.match(printed, /^User=mayfly\nStateDirectory=mayfly\nStateDirectoryMode=0700$/m)
  assert.doesNotMatch(deploymentFile('systemd', { ...server, user: 'root' }), /^User=/m)
})

test('A path with spaces, quotes and specifiers is one word of the unit, and one with a line break is refused', () => {
  const printed = deploymentFile('systemd', { ...server, state: '/a b/"c"/$d/%e' })
  assert.match(startOf(printed)!, / --state "\/a b\/\\"c\\"\/\$\$d\/%%e"$/)
  assert.throws(() => deploymentFile('systemd', { ...server, state: '/a\nUser=x' }), {
    code: 'USAGE',
  })
})
