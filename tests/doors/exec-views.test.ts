import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { serverUid } from '../../src/contract/uids.ts'
import { wardenFolder } from '../../src/lib/state-folder.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { tryLock } from '../../src/os/libc.js'
import { noFolderWall } from '../hostile/folder/project.ts'
import { bin, documentOf, makePlace, mayfly, noOrdinaryUser } from './program.ts'

/** Dry runs: changes of a command are kept, shown, committed and discarded. */
const skip = noFolderWall
const timeout = 240_000
const place = makePlace()
after(() => place.remove())

const viewsOf = (state: string) =>
  join(process.geteuid?.() === 0 ? wardenFolder(state) : state, 'views')
const views = viewsOf(place.state)
/** Calls `mayfly exec` in a folder. */
const exec = (folder: string, ...words: string[]) =>
  mayfly({ ...place, cwd: folder }, ['exec', ...words])
const dry = (folder: string, script: string, ...flags: string[]) =>
  exec(folder, '--dry-run', ...flags, '--', 'sh', '-c', script)

/** Starts a dry run and waits until it prints that it is ready. */
async function begun(folder: string, script: string) {
  const words = [bin, 'exec', '--dry-run', '--', 'sh', '-c', script]
  const child = spawn(process.execPath, words, { cwd: folder, env: place.env })
  await once(child.stdout, 'data')
  return child
}

let count = 0
/** A folder with files of each kind, owned by the user of the commands. */
function project(): string {
  const folder = join(place.cwd, `project-${count++}`)
  mkdirSync(join(folder, 'old/deep'), { recursive: true })
  mkdirSync(join(folder, 'kept'))
  const files = {
    'text.txt': 'one\ntwo\nthree\n',
    'gone.txt': 'gone\n',
    'old/a': 'a\n',
    'old/deep/b': 'b\n',
    'kept/same': 'same\n',
    binary: '\0\x01\x02',
    'no-end': 'no line end',
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  symlinkSync('text.txt', join(folder, 'link'))
  return folder
}

const everything = [
  'sed -i s/two/2/ text.txt && chmod 700 text.txt && rm gone.txt',
  'rm -r old && mkdir old && echo new > old/c && mkdir -p made/below && echo x > made/below/x',
  'mv kept moved && ln -sf binary link && printf "\\0\\3" > binary && printf "an end\\n" >> no-end',
  'echo y > same-name && rm same-name && mkdir same-name && chmod 711 made',
].join(' && ')

/** Paths with kind, permissions and content. */
function treeOf(folder: string, below = ''): readonly string[] {
  return readdirSync(join(folder, below))
    .sort()
    .flatMap((name) => {
      const path = join(below, name)
      const facts = lstatSync(join(folder, path))
      const mode = (facts.mode & 0o7777).toString(8)
      if (facts.isSymbolicLink()) return [`${path} -> ${readlinkSync(join(folder, path))}`]
      if (facts.isDirectory()) return [`${path}/ ${mode}`, ...treeOf(folder, path)]
      return [`${path} ${mode} ${readFileSync(join(folder, path)).toString('hex')}`]
    })
}

const viewIn = (stderr: string) => /kept as (view_[0-9a-f]{32}):/.exec(stderr)?.[1] ?? ''

suite('A dry run of mayfly exec', { skip, timeout, concurrency: 2 }, () => {
  test('leaves the folder unchanged, and a commit makes the same changes as the command without a dry run', async () => {
    const [viewed, direct] = [project(), project()]
    const before = treeOf(viewed)
    const ran = await dry(viewed, `${everything} && ls made old && cat text.txt`)
    assert.equal(ran.code, 0, ran.stderr)
    assert.equal(ran.stdout, 'made:\nbelow\n\nold:\nc\none\n2\nthree\n')
    assert.deepEqual(treeOf(viewed), before)
    assert.equal((await exec(direct, '--', 'sh', '-c', everything)).code, 0)
    const committed = await exec(viewed, '--commit')
    assert.equal(committed.code, 0, committed.stderr)
    assert.match(committed.stderr, /^Applied \d+ changes in /)
    assert.deepEqual(treeOf(viewed), treeOf(direct))
    assert.ok(!existsSync(join(views, viewIn(ran.stderr))))
    assert.equal((await exec(viewed, '--diff')).code, 1)
  })

  test(
    'shows the changes as text, as a patch for git apply, and as one JSON document',
    { skip: findProgram('git') ? false : 'git is missing' },
    async () => {
      const folder = project()
      const copy = join(place.cwd, `copy-${count++}`)
      cpSync(folder, copy, { recursive: true, verbatimSymlinks: true })
      const ran = await dry(
        folder,
        'sed -i s/two/2/ text.txt; rm gone.txt; echo more >> no-end; echo n > new.txt',
      )
      const { stdout, stderr } = await exec(folder, '--diff')
      assert.match(
        stdout,
        /^changed file text\.txt\ndiff --git a\/text\.txt b\/text\.txt\n--- a\/text\.txt\n\+\+\+ b\/text\.txt\n@@ -1,3 \+1,3 @@\n one\n-two\n\+2\n three\n/m,
      )
      assert.match(stderr, /4 changes; "mayfly exec --commit" makes them/)
      const applied = spawnSync('git', ['apply', '-'], {
        cwd: copy,
        input: stdout,
        encoding: 'utf8',
      })
      assert.equal(applied.status, 0, applied.stderr)
      const said = documentOf(
        await exec(folder, '--diff', viewIn(ran.stderr), '--json'),
      ) as unknown as {
        view: string
        changes: { path: string; change: string }[]
      }
      assert.equal(said.view, viewIn(ran.stderr))
      assert.deepEqual(
        said.changes.map(({ path, change }) => `${change} ${path}`),
        ['removed gone.txt', 'added new.txt', 'changed no-end', 'changed text.txt'],
      )
      assert.equal((await exec(folder, '--commit')).code, 0)
      assert.deepEqual(treeOf(copy), treeOf(folder))
    },
  )

  test(
    'shows a patch whose empty files, execute bits, links, and names of any kind git apply makes, and no part of one with a binary file',
    { skip: findProgram('git') ? false : 'git is missing' },
    async () => {
      const folder = project()
      for (const name of ['empty', 'text two', 'plain']) writeFileSync(join(folder, name), '')
      const copy = join(place.cwd, `copy-${count++}`)
      cpSync(folder, copy, { recursive: true, verbatimSymlinks: true })
      const applied = async () => {
        const { stdout: input } = await exec(folder, '--diff')
        return spawnSync('git', ['apply', '-'], { cwd: copy, input, encoding: 'utf8' })
      }
      const ran = await dry(
        folder,
        'touch made "$(printf \'q"u\\t\\1\')" kept/new; rm empty link; ln -s a/b kept/link; echo x > "text two"; chmod 755 plain; ' +
          'rm gone.txt; ln -s text.txt gone.txt; echo é > é; echo y > run; chmod 755 run',
      )
      assert.equal(ran.code, 0, ran.stderr)
      const { status, stderr } = await applied()
      assert.equal(status, 0, stderr)
      assert.equal((await exec(folder, '--commit')).code, 0)
      assert.deepEqual(treeOf(copy), treeOf(folder))
      const before = treeOf(copy)
      for (const one of ['q"u\t\x01 ', 'made ', 'run 755 ', 'plain 755 ', 'kept/link -> a/b'])
        assert.ok(
          before.some((line) => line.startsWith(one)),
          one,
        )
      await dry(folder, 'printf "\\351\\n" > latin; printf "\\0\\1" > binary; echo z > z')
      const refused = await applied()
      assert.notEqual(refused.status, 0)
      for (const name of ['binary', 'latin'])
        assert.ok(refused.stderr.includes(`cannot apply binary patch to '${name}'`), refused.stderr)
      assert.deepEqual(treeOf(copy), before)
      assert.equal((await exec(folder, '--discard')).code, 0)
    },
  )

  test('shows empty files: added, removed, and with other permissions', async () => {
    const folder = project()
    for (const name of ['empty', 'closed']) writeFileSync(join(folder, name), '')
    await dry(folder, 'touch made; rm empty; chmod 600 closed')
    const { code, stdout, stderr } = await exec(folder, '--diff', '--json')
    assert.equal(code, 0, stderr)
    const { changes } = JSON.parse(stdout) as { changes: { path: string; change: string }[] }
    assert.deepEqual(
      changes.map(({ path, change }) => `${change} ${path}`),
      ['changed closed', 'removed empty', 'added made'],
    )
  })

  test(
    'shows a file that its owner may not read by its size',
    { skip: process.geteuid?.() === 0 && noOrdinaryUser() },
    async () => {
      // Root reads every file.
      const own = makePlace(process.geteuid?.() === 0 ? 'ordinary' : 'self')
      try {
        const script = 'echo new > other; chmod 0 other'
        const ran = await mayfly(own, ['exec', '--dry-run', '--', 'sh', '-c', script])
        assert.equal(ran.code, 0, ran.stderr)
        const { code, stdout, stderr } = await mayfly(own, ['exec', '--diff'])
        assert.equal(code, 0, stderr)
        assert.match(stdout, /^added file other\n[^]*\n0 bytes became 4 bytes\n/)
        assert.doesNotMatch(stdout, /new\n/)
      } finally {
        own.remove()
      }
    },
  )

  test('is discarded without a trace, and views are listed from any folder', async () => {
    const folder = project()
    const before = treeOf(folder)
    const ran = await dry(folder, everything, '--json')
    const { view } = documentOf(ran) as unknown as { view: { id: string; changes: number } }
    assert.ok(view.changes > 8)
    const listed = documentOf(await exec(place.cwd, '--views', '--json')) as unknown as {
      views: { view: string; folder: string }[]
    }
    assert.ok(listed.views.some((one) => one.view === view.id && one.folder === folder))
    const dropped = await exec(place.cwd, '--discard', view.id)
    assert.equal(dropped.code, 0, dropped.stderr)
    assert.ok(!existsSync(join(views, view.id)))
    assert.deepEqual(treeOf(folder), before)
  })

  test('protects the same names in a view as in the folder, and keeps no view of a command that did not run', async () => {
    const folder = project()
    mkdirSync(join(folder, '.git/hooks'), { recursive: true })
    writeFileSync(join(folder, '.env'), 'SECRET=1\n')
    const script = `cat .env; echo x > .git/hooks/a; echo x > .bashrc; mv .git g; ls ${place.state}; echo kept > ok`
    const ran = await dry(folder, script)
    assert.match(ran.stderr, /refused: write to \.git\/hooks\/a/)
    assert.doesNotMatch(ran.stdout, /SECRET|views/)
    const { stdout } = await exec(folder, '--diff')
    assert.match(stdout, /^added file ok\n/)
    assert.doesNotMatch(stdout, /hooks|bashrc/)
    assert.equal((await exec(folder, '--discard')).code, 0)
    const file = join(place.state, 'floor-of-views.toml')
    writeFileSync(file, '[[tenants]]\nname = "default"\nfloor = "gvisor"\n')
    const refused = await exec(folder, '--config', file, '--dry-run', '--', 'true')
    assert.deepEqual([refused.code, viewIn(refused.stderr)], [126, ''])
    assert.equal((await exec(folder, '--diff')).code, 1)
  })
})

suite('A commit of mayfly exec', { skip, timeout, concurrency: 2 }, () => {
  const changes =
    'echo mine > text.txt; rm gone.txt; echo mine > new; rm -r old; mkdir kept/sub; echo m > kept/sub/m'
  const outside: Readonly<Record<string, (folder: string) => void>> = {
    'text.txt was changed meanwhile': (folder) =>
      writeFileSync(join(folder, 'text.txt'), 'theirs\n'),
    'text.txt was removed meanwhile': (folder) => rmSync(join(folder, 'text.txt')),
    'gone.txt was changed meanwhile': (folder) => chmodSync(join(folder, 'gone.txt'), 0o600),
    'new was made meanwhile': (folder) => writeFileSync(join(folder, 'new'), 'theirs\n'),
    'old/theirs was made meanwhile': (folder) =>
      writeFileSync(join(folder, 'old/theirs'), 'theirs\n'),
    'kept/sub was made meanwhile': (folder) => symlinkSync('/', join(folder, 'kept/sub')),
  }
  for (const [what, change] of Object.entries(outside))
    test(`changes nothing where ${what}`, async () => {
      const folder = project()
      const id = viewIn((await dry(folder, changes)).stderr)
      change(folder)
      const before = treeOf(folder)
      const ran = await exec(folder, '--commit', '--json')
      const { error } = documentOf(ran) as unknown as { error: { code: string; message: string } }
      assert.deepEqual([ran.code, error.code], [1, 'CONFLICT'])
      assert.ok(error.message.includes(what), error.message)
      assert.deepEqual(treeOf(folder), before)
      assert.ok(existsSync(join(views, id)))
    })

  test('changes nothing where a file was changed while the command ran', async () => {
    const folder = project()
    const child = await begun(folder, 'echo ready; read x; echo mine > text.txt')
    const busy = await exec(folder, '--commit', '--json')
    assert.match(busy.stdout + busy.stderr, /CONFLICT.*its command runs/)
    writeFileSync(join(folder, 'text.txt'), 'theirs\n')
    child.stdin.end('\n')
    await once(child, 'close')
    const { stdout, stderr } = await exec(folder, '--commit', '--json')
    assert.match(stdout + stderr, /text\.txt was changed while the command ran/)
    assert.equal(readFileSync(join(folder, 'text.txt'), 'utf8'), 'theirs\n')
  })

  test('does not write through a link that replaced a folder, nor into another folder of that name', async () => {
    const folder = project()
    const elsewhere = join(place.cwd, `elsewhere-${count++}`)
    mkdirSync(elsewhere)
    await dry(folder, 'echo mine > kept/same; echo mine > kept/new')
    renameSync(join(folder, 'kept'), join(folder, 'away'))
    symlinkSync(elsewhere, join(folder, 'kept'))
    assert.equal((await exec(folder, '--commit')).code, 1)
    assert.deepEqual(readdirSync(elsewhere), [])
    const other = project()
    await dry(other, 'echo mine > new')
    renameSync(other, `${other}-away`)
    mkdirSync(other)
    const { code, stderr } = await exec(other, '--commit')
    assert.equal(code, 1)
    assert.match(stderr, /is another folder now/)
    assert.deepEqual(readdirSync(other), [])
  })

  test('writes no protected name, also if one was added to the view by hand', async () => {
    for (const [name, rule] of [
      ['.git/hooks/pre-commit', '.git'],
      ['sub/.BashRC', '.bashrc'],
      ['.claude/settings.json', '.claude'],
      ['.env.local', '.env*'],
      ['sub/.hg/hgrc', '.hg'],
      ['.jj/repo/config.toml', '.jj'],
      ['.mise/config.toml', '.mise*'],
    ] as const) {
      const folder = project()
      const id = viewIn((await dry(folder, 'echo mine > new')).stderr)
      const planted = join(views, id, 'upper', name)
      mkdirSync(join(planted, '..'), { recursive: true })
      writeFileSync(planted, 'evil\n')
      rmSync(join(views, id, 'changes.json'))
      const { code, stderr } = await exec(folder, '--commit')
      assert.equal(code, 1, name)
      assert.ok(stderr.includes(`is protected (${rule})`), stderr)
      assert.ok(!existsSync(join(folder, 'new')))
    }
  })

  test('writes no view that makes a git repository together with one that was committed', async () => {
    const folder = project()
    const first = await dry(folder, 'mkdir w; echo "ref: refs/heads/main" > w/HEAD')
    assert.equal(first.code, 0, first.stderr)
    await dry(folder, 'mkdir -p w/objects w/refs; echo "[alias]" > w/config')
    assert.equal((await exec(folder, '--commit')).code, 0)
    const ran = await exec(folder, '--commit', '--json')
    const { error } = documentOf(ran) as unknown as { error: { code: string; message: string } }
    assert.deepEqual([ran.code, error.code], [1, 'CONFLICT'])
    assert.match(error.message, /w\/HEAD is protected \(a git repository\)/)
    assert.equal(existsSync(join(folder, 'w/HEAD')), false)
  })

  test('continues an interrupted commit, and keeps the changes of a command that was killed', async () => {
    const folder = project()
    const child = await begun(folder, `${changes}; echo ready; sleep 86395`)
    child.kill('SIGKILL')
    await once(child, 'close')
    const { stdout } = await exec(folder, '--diff')
    assert.match(stdout, /^changed file text\.txt\n/m)
    // State of a commit that was interrupted after two changes.
    rmSync(join(folder, 'gone.txt'))
    mkdirSync(join(folder, 'kept/sub'))
    const { code, stderr } = await exec(folder, '--commit')
    assert.equal(code, 0, stderr)
    assert.deepEqual(readdirSync(folder).sort(), [
      'binary',
      'kept',
      'link',
      'new',
      'no-end',
      'text.txt',
    ])
    assert.equal(readFileSync(join(folder, 'kept/sub/m'), 'utf8'), 'm\n')
  })

  for (const [what, script] of [
    [
      'a path longer than the kernel accepts',
      "n=$(printf '%0200d' 0); for i in $(seq 30); do mkdir $n && cd $n || exit 0; done",
    ],
    [
      'a name that is no UTF-8, in a folder closed to its owner',
      'mkdir "$(printf \'x\\377\')" && cd x* && mkdir in && chmod 0 in . ',
    ],
  ] as const)
    test(`is discarded if its command made ${what}`, { skip }, async () => {
      const folder = project()
      const ran = await dry(folder, script)
      assert.match(ran.stderr, /kept as view_\w+, but its changes cannot be listed/)
      const [, id = ''] = /kept as (view_\w+)/.exec(ran.stderr) ?? []
      assert.ok(existsSync(join(views, id)))
      const gone = await exec(folder, '--discard', id)
      assert.equal(gone.code, 0, gone.stderr)
      assert.match(gone.stderr, /changes that cannot be listed/)
      assert.deepEqual(
        readdirSync(views).filter((name) => name.startsWith(id)),
        [],
      )
    })

  test(
    'is made and committed by root whose state folder belongs to its server, which has no part of it',
    { skip: skip || noOrdinaryUser() },
    async () => {
      const folder = project()
      const state = join(place.state, 'given')
      mkdirSync(state, { mode: 0o700 })
      chownSync(state, serverUid, serverUid)
      const own = { ...place, cwd: folder, env: { ...place.env, MAYFLY_STATE: state } }
      const ran = await mayfly(own, ['exec', '--dry-run', '--', 'sh', '-c', 'echo mine > new'])
      assert.equal(ran.code, 0, ran.stderr)
      assert.ok(existsSync(join(viewsOf(state), viewIn(ran.stderr), 'view.json')))
      assert.ok(!viewsOf(state).startsWith(`${state}/`))
      assert.ok(!existsSync(join(state, 'views')))
      assert.ok(!existsSync(join(folder, 'new')))
      const applied = await mayfly(own, ['exec', '--commit', viewIn(ran.stderr)])
      assert.equal(applied.code, 0, applied.stderr)
      assert.equal(readFileSync(join(folder, 'new'), 'utf8'), 'mine\n')
    },
  )

  test('is removed by the next dry run where its removal was killed', { skip }, async () => {
    const folder = project()
    assert.equal((await dry(folder, 'true')).code, 0)
    const gone = join(views, `view_${'3'.repeat(32)}.gone`)
    mkdirSync(join(gone, 'upper/a'), { recursive: true })
    const { uid, gid } = statSync(views)
    spawnSync('chown', ['-R', `${uid}:${gid}`, gone])
    assert.equal((await dry(folder, 'true')).code, 0)
    assert.ok(!existsSync(gone))
  })

  test('does not count towards the 64 views if it was killed before its command, and is removed', async () => {
    const folder = project()
    const state = join(place.state, 'killed')
    const own = { ...place, cwd: folder, env: { ...place.env, MAYFLY_STATE: state } }
    const before = new Date(Date.now() - 3_600_000)
    const killed = Array.from({ length: 64 }, (_, at) =>
      join(viewsOf(state), `view_${at.toString(16).padStart(32, '0')}`),
    )
    for (const one of killed) {
      mkdirSync(join(one, 'upper'), { recursive: true })
      utimesSync(one, before, before)
    }
    const [inTheMaking, hasLock] = killed as [string, string]
    utimesSync(inTheMaking, new Date(), new Date())
    const lock = openSync(join(hasLock, 'lock'), 'w')
    assert.ok(tryLock(lock))
    utimesSync(hasLock, before, before)
    spawnSync('chown', ['-R', '--reference', folder, viewsOf(state)])
    const ran = await mayfly(own, ['exec', '--dry-run', '--', 'true'])
    closeSync(lock)
    assert.equal(ran.code, 0, ran.stderr)
    const left = readdirSync(viewsOf(state)).map((name) => join(viewsOf(state), name))
    assert.deepEqual(left.sort(), [inTheMaking, hasLock, join(viewsOf(state), viewIn(ran.stderr))])
  })

  test('explains usage errors: an unknown view, two actions, another folder to write, too many views', async () => {
    const folder = project()
    const cases = [
      [['--diff', 'view_0'], 1, /Cannot find the view "view_0"/],
      [['--diff', '../../etc'], 1, /Cannot find the view/],
      [['--diff', '--commit'], 2, /use exactly one of/],
      [['--commit', '--', 'true'], 2, /use exactly one of/],
      [['--dry-run'], 2, /expected the command after "--"/],
      [['--dry-run', '--write', '..', '--', 'true'], 2, /Omit --write/],
      [['ls', '-la'], 2, /unknown option '-la'[^]* go after "--": mayfly exec \[flags\] -- ls -la/],
    ] as const
    for (const [words, code, says] of cases) {
      const ran = await exec(folder, ...words)
      assert.equal(ran.code, code, `${words.join(' ')}: ${ran.stderr}`)
      assert.match(ran.stderr, says)
    }
    const own = {
      ...place,
      cwd: folder,
      env: { ...place.env, MAYFLY_STATE: join(place.state, 'full') },
    }
    const none = await mayfly(own, ['exec', '--diff'])
    assert.match(none.stderr, /There is none: "mayfly exec --dry-run -- COMMAND" makes one/)
    const made = await mayfly(own, ['exec', '--dry-run', '--', 'true'])
    assert.equal(made.code, 0)
    const unknown = await mayfly(own, ['exec', '--diff', 'view_0', '--json'])
    const { error } = documentOf(unknown) as unknown as { error: { hint: string } }
    assert.ok(error.hint.includes(`${viewIn(made.stderr)} of "${folder}"`), error.hint)
    const kept = viewsOf(join(place.state, 'full'))
    for (let at = 1; at < 64; at++) {
      const view = join(kept, `view_${at.toString(16).padStart(32, '0')}`)
      mkdirSync(view)
      writeFileSync(join(view, 'view.json'), '')
    }
    const full = await mayfly(own, ['exec', '--dry-run', '--', 'true'])
    assert.match(full.stderr, /Cannot keep more than 64 views/)
  })
})
