import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { text } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { launcherPath, step } from '../../src/jail/launch-steps.ts'

/**
 * The launcher by itself: each step that fails ends the start, names the step on the readiness pipe, and
 * no later step is executed. Complete jails are tested in jail.test.ts and by every wall.
 */
const launcher = await openOwnProgram('launcher')
const LAUNCHER_FD = 5
/** Parent folder of everything that a failed start made. */
const made = mkdtempSync(join(tmpdir(), 'mayfly-launched-'))
after(() => rmSync(made, { recursive: true }))

suite('The launcher', { skip: 'missing' in launcher && launcher.missing }, () => {
  const refused: readonly (readonly [title: string, steps: readonly string[], said: RegExp])[] = [
    ['an unknown step', step('dance'), /Elauncher: dance is not a known step/],
    ['a count that is no number', ['group', 'x'], /Elauncher: group x: Invalid argument/],
    [
      'a count beyond its arguments',
      ['group', '500', 'a'],
      /Elauncher: group has fewer arguments than its count/,
    ],
    ['a step with too few arguments', step('become', 1), /Elauncher: become needs more arguments/],
    [
      'an exec that is not the last step',
      [...step('exec', '/bin/true', 'true'), 'fork', '0'],
      /Elauncher: exec is not last/,
    ],
    ['no exec', step('ignore-signals'), /Elauncher: exec is missing/],
    ['a missing program', step('exec', '/nowhere', 'x'), /Elauncher: exec \/nowhere: No such file/],
    ['a missing cgroup', step('group', '/nowhere/cgroup.procs'), /Elauncher: group \/nowhere/],
    ['an unknown limit', step('limit', 'fun', 1), /Elauncher: limit fun/],
    ['an unknown namespace', step('namespaces', 'time'), /Elauncher: namespaces time/],
    ['a mount tree that was not opened', step('attach', 3, '/mnt'), /Elauncher: attach 3/],
    ['a filter that is not hexadecimal', step('seccomp', 'zz'.repeat(8)), /Elauncher: seccomp hex/],
    ['half an instruction', step('seccomp', '00'.repeat(7)), /Elauncher: seccomp length/],
    ['a cgroup fd that is not open', step('open-group', 77), /open-group 77: Bad file descriptor/],
    ['a copy of a closed fd', step('copy', 77, join(made, 'never/x')), /copy .*: Bad file desc/],
    ['an unknown capability', step('keep-capabilities', 64), /keep-capabilities 64: Inv/],
    ['an fd that is not open', step('keep', 77), /Elauncher: keep 77: Bad file descriptor/],
    [
      'a layer of another user',
      step('grab-layer', '/usr', 'bin', 4242, 'own'),
      /Elauncher: grab-layer \/usr/,
    ],
  ]
  for (const [title, steps, said] of refused)
    test(`refuses ${title}, and starts nothing`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'mayfly-launcher-'))
      const mark = join(folder, 'mark')
      try {
        const isWhole = title.startsWith('no ') || steps[0] === 'exec'
        const exec = step('exec', '/bin/sh', 'sh', '-c', `echo ran > ${mark}`)
        const started = await launch(isWhole ? steps : [...steps, ...exec])
        assert.match(started.said, said)
        assert.equal(started.code, 1)
        assert.equal(existsSync(mark), false)
      } finally {
        rmSync(folder, { recursive: true })
      }
    })

  test('lowers limits, and never raises one', async () => {
    const { out } = await launch([
      ...step('limit', 'nofile', 64),
      ...step('limit', 'nofile', 128),
      ...step('exec', '/bin/sh', 'sh', '-c', 'ulimit -Sn; ulimit -Hn'),
    ])
    assert.equal(out, '64\n64\n')
  })

  test('gives the program its variables and fds, and no others', async () => {
    const { out } = await launch([
      ...step('keep', 4),
      ...step('variables', 'ONE=1', 'PATH=/usr/bin:/bin'),
      ...step(
        'exec',
        '/bin/sh',
        'sh',
        '-c',
        'env | grep -v -e ^PWD -e ^_ -e ^SHLVL -e ^OLDPWD; ls /proc/$$/fd',
      ),
    ])
    const [variables, descriptors] = [out.match(/^\w+=.*$/gm), out.match(/^\d+$/gm)]
    assert.deepEqual(variables?.toSorted(), ['ONE=1', 'PATH=/usr/bin:/bin'])
    assert.deepEqual(descriptors, ['0', '1', '2', '4'])
  })

  test('ends with the exit code or signal of its child', async () => {
    const ends = async (script: string) => {
      const { code, signal } = await launch([
        ...step('fork'),
        ...step('exec', '/bin/sh', 'sh', '-c', script),
      ])
      return [code, signal]
    }
    assert.deepEqual(await ends('exit 7'), [7, null])
    assert.deepEqual(await ends('kill -KILL $$'), [null, 'SIGKILL'])
  })

  test('is stored where no other user can change it', () => {
    assert.ok('fd' in launcher)
    const folder = statSync(join(launcher.file, '..'))
    assert.deepEqual([folder.mode & 0o077, folder.uid], [0, process.getuid!()])
    assert.equal(readFileSync(launcher.file).subarray(1, 4).toString(), 'ELF')
  })
})

async function launch(steps: readonly string[]) {
  assert.ok('fd' in launcher)
  const child = spawn(launcherPath(LAUNCHER_FD), [...step('close', LAUNCHER_FD), ...steps], {
    env: {},
    stdio: ['ignore', 'pipe', 'ignore', 'ignore', 'pipe', launcher.fd],
  })
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.once('exit', (code, signal) => resolve([code, signal]))
  })
  const [out, said] = await Promise.all([
    text(child.stdout as Readable),
    text(child.stdio[4] as Readable),
  ])
  const [code, signal] = await ended
  return { out, said, code, signal }
}
