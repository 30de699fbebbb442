import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { composeBubblewrap } from './bubblewrap.ts'
import { composeEmbedded, type JailedProgram } from './embedded.ts'
import { layers, type JailFacts, type JailLayer } from './facts.ts'

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
const optionalOnes: ReadonlySet<JailLayer> = new Set(['memory cgroup', 'memory watch'])

suite('A jail is composed', () => {
  test('from all features of a machine, by programs that die with their parent', () => {
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

  test('with each layer disabled, only that one is missing', () => {
    const whole = composeEmbedded(program, rich, everything).layers
    for (const layer of layers.filter((one) => !optionalOnes.has(one))) {
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

  test('from the features of a poor machine, and reports the missing ones', () => {
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

  test('without setpriv Mayfly’s launcher replaces it', () => {
    const { file, args } = composeEmbedded(program, { ...rich, setpriv: undefined }, everything)
    assert.equal(file, process.execPath)
    assert.ok(args[2]?.endsWith('guest/die-with-parent.js'))
    assert.equal(args[3], '/bin/unshare')
  })

  test('inherits no environment variable of the host', () => {
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

  const whole: JailedProgram = {
    ...program,
    main: '/house/guest/run.js',
    tree: [],
    whole: {
      interpreter: '/house/node',
      flags: ['--a-flag'],
      scratchBytes: 2 ** 20,
      isWarm: true,
      hasThreads: true,
      places: [
        { from: '/house/node', at: '/opt/mayfly/bin/node' },
        { from: '/house/guest', at: '/opt/mayfly/guest' },
      ],
    },
  }
  const richer = { ...rich, proc: true }
  const specOf = ({ args }: { readonly args: readonly string[] }) =>
    JSON.parse(args.at(-1) ?? '') as {
      readonly exec: { readonly args: readonly string[] }
      readonly limits: Readonly<Record<string, number>>
      readonly kept: readonly number[]
      readonly whole: { readonly writable: readonly string[]; readonly proc: unknown }
    }

  test('for a whole program: with a process 1, its files at their inner paths, its bounds', () => {
    const spec = specOf(composeEmbedded(whole, richer, everything))
    const inside = ['/opt/mayfly/bin/node', '--a-flag', '/opt/mayfly/guest/run.js']
    assert.deepEqual(spec.exec.args.slice(-4, -1), inside)
    assert.equal(spec.exec.args[0], 'init')
    assert.deepEqual([spec.limits['nofile'], spec.limits['fsize']], [1024, 2 ** 20])
    assert.ok(spec.whole.writable.includes('/work') && spec.whole.proc)
    const bubblewrap = composeBubblewrap(whole, richer, everything)!
    assert.deepEqual(bubblewrap.args.slice(-4, -1), inside)
    assert.ok(!bubblewrap.args.includes('--as-pid-1'))
    assert.equal(bubblewrap.filterFd, 6)
    for (const { missing } of [bubblewrap, composeEmbedded(whole, richer, everything)])
      assert.deepEqual(missing, [])
  })

  test('for a whole program on a poor machine, which reports the missing layers', () => {
    const bare = { ...richer, namespaces: false, proc: false }
    const { missing } = composeEmbedded(whole, bare, everything)
    assert.ok(missing.some((one) => one.startsWith('programs: ')))
    const spec = specOf(composeEmbedded(whole, bare, { ...everything, scratch: '/given' }))
    assert.deepEqual(spec.whole.writable, ['/given', '/dev/null'])
    assert.deepEqual(spec.exec.args.slice(0, 3), ['/house/node', '--a-flag', '/house/guest/run.js'])
    const [masked, mounted] = [rich, richer].map((facts) =>
      composeBubblewrap(whole, facts, everything)!,
    )
    assert.ok(!masked!.args.includes('--proc') && mounted!.args.includes('--proc'))
    assert.deepEqual(masked!.missing, ['/proc: the kernel gives none here'])
  })

  test('by bubblewrap only if it is installed, and never as root without a uid of its own', () => {
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
