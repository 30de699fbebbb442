import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { isMissing } from '../walls/process-stands.ts'
import { documentOf, makePlace, mayfly } from './program.ts'

/** The folder of `run --artifacts`, through the real command. */
const place = makePlace()
after(() => place.remove())

const inside = (...names: string[]) => join(place.cwd, ...names)
const read = (...names: string[]) => readFileSync(inside(...names), 'utf8')
const save = (folder: string, ...more: string[]) =>
  mayfly(place, ['run', 'made.sh', '--artifacts', folder, ...more])

writeFileSync(
  inside('made.sh'),
  'mkdir -p out/sub && echo "$1" > out/x.txt && echo deep > out/sub/y.txt; echo said',
)

suite('Artifacts are written to a folder', () => {
  test('Running a command again replaces the files that Mayfly wrote, and no others', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    for (const word of ['first', 'second', 'second']) {
      const ran = await save('twice', '--', word)
      assert.equal(ran.code, 0, ran.stderr)
      assert.deepEqual([read('twice/x.txt'), read('twice/sub/y.txt')], [`${word}\n`, 'deep\n'])
    }
    assert.deepEqual(readdirSync(inside('twice')).sort(), [
      '.mayfly-artifacts.json',
      'sub',
      'x.txt',
    ])
  })

  test('A file that the user wrote or changed is kept and reported, and the outcome is still printed', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    mkdirSync(inside('own'))
    chmodSync(inside('own'), 0o777)
    writeFileSync(inside('own/x.txt'), 'mine')
    for (const json of [false, true]) {
      const ran = await save('own', ...(json ? ['--json'] : []), '--', 'theirs')
      assert.equal(ran.code, 9)
      assert.equal(json ? documentOf(ran)['stdout'] : ran.stdout, 'said\n')
      assert.match(ran.stderr, /Not saved: x\.txt \(a file that Mayfly did not write is there/)
      assert.deepEqual([read('own/x.txt'), read('own/sub/y.txt')], ['mine', 'deep\n'])
    }
    assert.match((await save('own', '--', 'theirs')).stderr, /ok · process/)
  })

  test('Attack: no repository of git or Mercurial is written, whose configuration names programs to run', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const refused = [
      '.git/HEAD',
      '.git/config',
      '.GIT/config',
      'file/.git',
      'sub/.GIT',
      '.hg/hgrc',
      '.HG/hgrc',
      'bare/HEAD',
      'lower/head',
    ]
    const saved = ['.github/a.yml', '.gitignore', 'bare/config', 'bare/objects/x', 'bare/refs/x']
    const files = [...refused, ...saved, 'HEAD.txt'].map((path) => `out/${path}`)
    writeFileSync(
      inside('repository.sh'),
      `for at in ${files.join(' ')}; do mkdir -p "$(dirname $at)"; echo x > $at; done`,
    )
    const ran = await mayfly(place, ['run', 'repository.sh', '--artifacts', 'repository'])
    assert.equal(ran.code, 9, ran.stderr)
    for (const path of refused) {
      const told = `Not saved: ${path} (it would be part of a repository of git or Mercurial`
      assert.ok(ran.stderr.includes(told), `${path}: ${ran.stderr}`)
      assert.ok(!existsSync(inside('repository', path)), path)
    }
    for (const path of [...saved, 'HEAD.txt']) assert.equal(read('repository', path), 'x\n', path)
  })

  test('No symbolic link in the folder is followed, at any depth', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    for (const name of ['linked', 'elsewhere']) {
      mkdirSync(inside(name))
      chmodSync(inside(name), 0o777)
    }
    symlinkSync(inside('elsewhere'), inside('linked/sub'))
    symlinkSync(inside('elsewhere/x.txt'), inside('linked/x.txt'))
    const list = JSON.stringify({ format: 1, files: { 'x.txt': { size: 0, sha256: '' } } })
    writeFileSync(inside('linked/.mayfly-artifacts.json'), list)
    chmodSync(inside('linked/.mayfly-artifacts.json'), 0o666)
    const ran = await save('linked', '--', 'out')
    assert.equal(ran.code, 9)
    assert.match(ran.stderr, /Not saved: sub\/y\.txt \(a (file or a )?link/)
    assert.match(ran.stderr, /Not saved: x\.txt \(a link of that name is there\)/)
    assert.deepEqual(readdirSync(inside('elsewhere')), [])
    assert.equal(lstatSync(inside('linked/x.txt')).isSymbolicLink(), true)
  })

  test('A planted symbolic link in place of the list of written files is neither read nor written through', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    mkdirSync(inside('planted'))
    chmodSync(inside('planted'), 0o777)
    writeFileSync(inside('victim'), 'whole')
    chmodSync(inside('victim'), 0o666)
    symlinkSync(inside('victim'), inside('planted/.mayfly-artifacts.json'))
    const ran = await save('planted', '--', 'a')
    assert.equal(ran.code, 0, ran.stderr)
    assert.equal(read('victim'), 'whole')
    assert.equal(lstatSync(inside('planted/.mayfly-artifacts.json')).isFile(), true)
  })

  test('A missing folder is created, also if only root can create it', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    mkdirSync(inside('private'), { mode: 0o700 })
    const ran = await save('private/new/folder', '--', 'made')
    assert.equal(ran.code, 0, ran.stderr)
    assert.equal(read('private/new/folder/x.txt'), 'made\n')
    rmSync(inside('private/new'), { recursive: true })
  })

  test('A folder that cannot be written is an error before anything runs, with a hint', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    mkdirSync(inside('closed'), { mode: 0o555 })
    const ran = await save('closed', '--', 'a')
    assert.deepEqual([ran.code, ran.stdout], [2, ''])
    assert.match(ran.stderr, /Cannot write artifacts to "closed": it[^]*[Nn]ame a folder/)
    assert.equal(statSync(inside('closed')).mode & 0o777, 0o555)
  })

  test('A too large artifact is reported with the flag that raises the limit, and returned with that flag', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    writeFileSync(
      inside('big.sh'),
      'head -c 17000000 /dev/zero > out/big.bin; echo small > out/a.txt',
    )
    const args = ['run', 'big.sh', '--artifacts', 'big', '--disk', '128MB', '--memory', '256MB']
    const ran = await mayfly(place, args)
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stderr, /Left out: big\.bin: .*large/)
    assert.match(
      ran.stderr,
      /The limit of all artifacts together is 16\.0 MB; --artifacts-max 32MB raises it/,
    )
    assert.deepEqual([existsSync(inside('big/big.bin')), read('big/a.txt')], [false, 'small\n'])
    const more = await mayfly(place, [...args, '--artifacts-max', '20MB'])
    assert.equal(more.code, 0, more.stderr)
    assert.equal(statSync(inside('big/big.bin')).size, 17_000_000)
    writeFileSync(inside('huge.py'), 'open("huge.bin", "wb").write(bytes(40_000_000))')
    const bounds = ['--disk', '128MB', '--memory', '256MB', '--artifacts-max', '60MB']
    const single = await mayfly(place, ['run', 'huge.py', '--artifacts', 'huge', ...bounds])
    assert.match(single.stderr, /Left out: huge\.bin: .* a single artifact at most 33488896/)
    assert.match(single.stderr, /^No flag raises the limit of a single artifact/m)
    assert.doesNotMatch(single.stderr, /--artifacts-max/)
  })

  test('Files of a job that ran without --artifacts are named, with the flag that writes them', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    writeFileSync(inside('many.sh'), 'for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo > f$n; done')
    const run = (...more: string[]) => mayfly(place, ['run', 'many.sh', ...more])
    const ran = await run()
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stderr, /^Not saved: f1, f10, .*, f7 and 2 more \(--artifacts FOLDER writes/m)
    for (const more of [['--artifacts', 'many'], ['--json'], ['--quiet']]) {
      const silent = await run(...more)
      assert.equal(silent.code, 0, silent.stderr)
      assert.doesNotMatch(silent.stderr, /Not saved/)
    }
  })

  test('A limit above the limit of the server is lowered to it', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    const ran = await save('cut', '--artifacts-max', '1GB', '--json')
    const rows = documentOf(ran)['profile'].explain as { field: string; value: number }[]
    assert.equal(rows.find(({ field }) => field === 'limits.artifacts')?.value, 64 * 2 ** 20)
  })
})
