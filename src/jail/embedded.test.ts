import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { composeBubblewrap } from './bubblewrap.ts'
import { composeEmbedded, type JailedProgram } from './embedded.ts'
import { layers, type JailFacts, type Layer } from './facts.ts'

const rich: JailFacts = {
  platform: 'linux',
  root: true,
  namespaces: true,
  landlock: 6,
  setpriv: '/bin/setpriv',
  unshare: '/bin/unshare',
  bubblewrap: '/bin/bwrap',
}
const program: JailedProgram = {
  name: 'test',
  nodeFlags: ['--some-flag'],
  main: import.meta.filename,
  env: { ONLY: 'this' },
  tree: [import.meta.dirname],
}
const everything = { uid: 52_001, without: [] }
const ownWay: ReadonlySet<Layer> = new Set(['memory cgroup', 'memory watch'])

suite('A jail is composed', () => {
  test('from all that a machine gives, by programs that die with whoever starts them', () => {
    const { file, args, nested, layers, missing } = composeEmbedded(program, rich, everything)
    assert.deepEqual(
      [file, args.slice(0, 4)],
      ['/bin/setpriv', ['--pdeathsig', 'KILL', '--', '/bin/unshare']],
    )
    assert.ok(
      ['--net', '--pid', '--mount', '--ipc', '--uts', '--kill-child'].every((flag) =>
        args.includes(flag),
      ),
    )
    assert.deepEqual([nested, missing], [true, []])
    assert.deepEqual(layers, [
      'namespaces',
      'network namespace',
      'pid namespace',
      'empty root',
      'own uid',
      'landlock',
      'seccomp',
    ])
  })

  test('with each layer left out, that one alone', () => {
    const whole = composeEmbedded(program, rich, everything).layers
    for (const layer of layers.filter((one) => !ownWay.has(one))) {
      const command = composeEmbedded(program, rich, { ...everything, without: [layer] })
      const left = command.layers
      assert.ok(!left.includes(layer), layer)
      const rest = ['own uid', 'landlock', 'seccomp'].filter((one) => one !== layer)
      assert.ok(
        rest.every((one) => left.includes(one)),
        layer,
      )
      assert.ok(left.length < whole.length)
    }
  })

  test('from what a poor machine gives, and says what is missing', () => {
    const poor = { ...rich, root: false, namespaces: false, landlock: 0, unshare: undefined }
    const { args, nested, layers, missing } = composeEmbedded(program, poor, {
      uid: undefined,
      without: [],
    })
    assert.deepEqual([nested, layers, missing.length], [false, ['seccomp'], 3])
    assert.ok(!args.includes('--net'))
  })

  test('for an ordinary user in a user namespace', () => {
    const facts = { ...rich, root: false }
    const { args, layers } = composeEmbedded(program, facts, { uid: undefined, without: [] })
    assert.ok(args.includes('--user') && args.includes('--map-root-user'))
    assert.equal(layers[0], 'user namespace')
  })

  test('without setpriv a program of ours does its part', () => {
    const { file, args } = composeEmbedded(program, { ...rich, setpriv: undefined }, everything)
    assert.equal(file, process.execPath)
    assert.ok(args[2]?.endsWith('guest/die-with-parent.js'))
    assert.equal(args[3], '/bin/unshare')
  })

  test('nothing of the environment here goes in', () => {
    process.env['EMBEDDED_SECRET'] = 'seen'
    for (const command of [
      composeEmbedded(program, rich, everything),
      composeBubblewrap(program, rich, everything)!,
    ]) {
      assert.doesNotMatch(command.args.join(' '), /EMBEDDED_SECRET|seen/)
      assert.match(command.args.join(' '), /ONLY/)
    }
    delete process.env['EMBEDDED_SECRET']
  })

  test('by bubblewrap only where it is there, and never as root without a uid of its own', () => {
    assert.equal(
      composeBubblewrap(program, { ...rich, bubblewrap: undefined }, everything),
      undefined,
    )
    assert.equal(composeBubblewrap(program, { ...rich, namespaces: false }, everything), undefined)
    assert.equal(composeBubblewrap(program, { ...rich, setpriv: undefined }, everything), undefined)
    const { layers, filter, args } = composeBubblewrap(program, rich, everything)!
    assert.ok(layers.includes('seccomp') && layers.includes('own uid') && filter)
    assert.ok(args.includes('--unshare-all') && args.includes('--die-with-parent'))
  })
})
