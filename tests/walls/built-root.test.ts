import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { callClasses } from '../../src/contract/calls.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { until } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { test } from '../fixtures/drawn.ts'
import { openWhole } from './whole-wall.ts'

/** The root of a wall of bubblewrap: built by the launcher, it is what bubblewrap builds where there is none. */
const skip = !findJailFacts().namespaces
  ? 'namespaces are forbidden here'
  : !findProgram('bwrap')
    ? 'bwrap is missing'
    : noCompiler

/** Folders, links, flags of mounts and errors of writes. Modes are left out: bubblewrap makes parents closed to others. */
const looks = `
import errno, json, os
def written(at):
    try: open(at + '/mark', 'w').close()
    except OSError as error: return errno.errorcode[error.errno]
    return 'wrote'
seen = {}
for at in ['/', '/dev', '/etc', '/etc/ssl', '/opt', '/opt/mayfly', '/opt/mayfly/guest', '/usr', '/work', '/tmp', '/dev/shm', '/dev/pts']:
    names = sorted(os.listdir(at))
    links = {name: os.readlink(at + '/' + name) for name in names if at != '/usr' and os.path.islink(at + '/' + name)}
    flags = os.statvfs(at).f_flag
    seen[at] = [names, links, flags, written(at)]
seen['devices'] = {at: [os.stat('/dev/' + at).st_rdev, os.statvfs('/dev/' + at).f_flag] for at in ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'pts/ptmx']}
seen['texts'] = [open('/etc/' + at).read() for at in ['passwd', 'group', 'hosts', 'nsswitch.conf']]
seen['scratch'] = [os.stat(at).st_dev == os.stat('/work').st_dev for at in ['/tmp', '/dev/shm', '/', '/etc', '/dev', '/opt']]
print(json.dumps(seen))
`

const opens = `
import errno, time
def opened(at):
    try: open(at).close()
    except OSError as error: return errno.errorcode[error.errno]
    return 'ok'
open('/work/own', 'w').close()
print('started', flush=True)
for round in range(600):
    print(*(opened(at) for at in ['/work/own', '/etc/passwd', '/opt/mayfly/sentinel', '/usr/bin/env']), '.', flush=True)
    time.sleep(0.05)
`

suite('The root of a wall of bubblewrap', { skip, concurrency: 1 }, () => {
  // Compiled before the first wall, which otherwise uses the system's programs.
  test('built by the launcher it has the same entries as one by bubblewrap, and no more of it is writable', async () => {
    await openOwnProgram('launcher')
    const [built, bound] = [await seenWith([]), await seenWith(['launcher'])]
    const { scratch, ...rest } = built
    const { scratch: boundScratch, ...boundRest } = bound
    assert.deepEqual(rest, boundRest)
    for (const at of ['/', '/dev', '/etc', '/opt', '/opt/mayfly', '/usr'])
      assert.match(built[at][3], /^E(ROFS|ACCES)$/, at)
    assert.deepEqual(scratch, [true, true, false, false, false, false])
    assert.deepEqual(boundScratch.slice(0, 3), [true, true, false])
  })

  test('/etc and /opt are not scratch: they close with the class "outside"', async () => {
    await openOwnProgram('launcher')
    await using whole = await openWhole()
    const wall = await whole.start('python', 'bubblewrap')
    await wall.claim()
    wall.run(opens)
    await until(() => wall.said.stdout.includes('ok ok ok ok .'), 'a round of opens')
    const allow = callClasses.filter((name) => name !== 'outside')
    await whole.warden.calls(wall.id, [{ afterMs: 0, allow }])
    await until(() => wall.said.stdout.includes('ok EACCES EACCES EACCES .'), 'a closed round')
  })
})

async function seenWith(hide: readonly string[]): Promise<any> {
  await using whole = await openWhole({ hide })
  const wall = await whole.start('python', 'bubblewrap')
  await wall.claim()
  wall.run(looks)
  await wall.end()
  assert.equal(wall.said.stderr, '')
  return JSON.parse(wall.said.stdout)
}
