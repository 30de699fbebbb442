import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { suite, test, type TestContext } from 'node:test'
import { findJailFacts, type JailLayer } from '../../src/jail/facts.ts'
import { reachFrom, type JailWish } from './jailed.ts'

/**
 * Runs a program that probes everything around it in the jail: with every layer, with each one left out (S4-39), and on
 * machines with fewer kernel features. Without any one layer the others still hold.
 */
const facts = findJailFacts()
const jails: readonly (readonly [title: string, wish: JailWish, without?: JailLayer])[] = [
  ['with every layer', {}],
  ['as an ordinary user', { hide: ['root'] }],
  ['without namespaces', { hide: ['namespaces'] }],
  ['as an ordinary user without namespaces', { hide: ['root', 'namespaces'] }],
  ['without setpriv', { hide: ['setpriv'] }],
  ['in bubblewrap', { jailKind: 'bubblewrap' }],
  ['in bubblewrap, as an ordinary user', { jailKind: 'bubblewrap', hide: ['root'] }],
  ['with the layer "namespaces" off', { without: ['namespaces'] }, 'namespaces'],
  ['with the layer "landlock" off', { without: ['landlock'] }, 'landlock'],
  ['with the layer "seccomp" off', { without: ['seccomp'] }, 'seccomp'],
  ['with the layer "own uid" off', { without: ['own uid'] }, 'own uid'],
]

/** The layers that are left out above, and whether a jail here has each of them otherwise. */
const here = {
  namespaces: facts.namespaces,
  landlock: facts.landlock > 0,
  seccomp: true,
  'own uid': facts.root,
} satisfies Partial<Record<JailLayer, boolean>>

/** Resources that a process without a jail reaches. */
const reachable = [
  'a file of the host',
  'the list of users',
  'a folder of the host',
  'a file written',
  'processes of the host',
  'the kernel',
  'a program of the host',
  'a port',
  'a socket in a folder',
  'a socket without a folder',
  'a datagram',
]

const launcher = await openOwnProgram('launcher')
const starts = [
  ['', {}],
  [', by the launcher', { launcher: 'fd' in launcher ? launcher.fd : undefined }],
] as const

suite('A program in the jail reaches no target', { skip: unable() }, () => {
  test('without any jail it reaches every target', async () => {
    const { second, knocks, mark } = await reachFrom({ jailKind: 'none' })
    for (const what of reachable) assert.ok(second.includes(what), `"${what}" was not reached`)
    assert.ok(knocks >= 4 && mark)
  })
  for (const [[title, wish, without], [by, start]] of jails.flatMap((jail) =>
    starts.map((start) => [jail, start] as const),
  ))
    test(`${title}${by}: no file, no process, no socket, no secret`, async (t) => {
      if (isMissing(t, wish)) return
      if (by && 'missing' in launcher) return t.skip(launcher.missing)
      const { first, second, probed, layers, knocks, mark } = await reachFrom({
        ...wish,
        ...start,
      })
      assert.deepEqual(second, [], 'reached after it was warm')
      assert.deepEqual(first, [], 'reached while it started')
      assert.deepEqual([knocks, mark], [0, false])
      // An ordinary user's are called "user namespace".
      const isNamed = (name: JailLayer) =>
        layers.some((one) => one.includes(name.replace(/s$/, '')))
      if (without) assert.ok(!isNamed(without), `${without} was active although it was left out`)
      if (title === 'with every layer')
        for (const [layer, isThere] of Object.entries(here))
          assert.equal(isNamed(layer as JailLayer), isThere, layer)
      if (without !== 'seccomp') assert.deepEqual(probed, [])
    })
})

function isMissing(t: TestContext, { jailKind, hide }: JailWish): boolean {
  const here = findJailFacts(hide ?? [])
  if (jailKind !== 'bubblewrap') return false
  if (!here.bubblewrap) t.skip('bwrap is missing')
  else if (!here.namespaces) t.skip('namespaces are forbidden here')
  else return false
  return true
}

function unable(): string | false {
  if (facts.platform !== 'linux') return 'only Linux has these jails'
  return existsSync('/proc/self/fd') ? false : 'there is no /proc'
}
