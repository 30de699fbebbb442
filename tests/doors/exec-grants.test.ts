import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { hasProgram, noFolderWall } from '../hostile/folder/project.ts'
import { bin, documentOf, makePlace, mayfly, type RunOptions } from './program.ts'

/** Flags and settings grant and deny paths, and some paths are never granted. */
const timeout = 240_000
const place = makePlace()
after(() => place.remove())
const home = place.env['HOME']!
const at = (name: string) => join(place.cwd, name)

const shell = (script: string, flags: readonly string[] = [], options: RunOptions = {}) =>
  mayfly(place, ['exec', ...flags, '--', 'sh', '-c', script], options)

suite('Grants of mayfly exec', { skip: noFolderWall, timeout, concurrency: 2 }, () => {
  before(() => {
    for (const name of ['shared/.vscode', 'sets', '.ssh'])
      mkdirSync(join(home, name), { recursive: true })
    writeFileSync(join(home, 'sets/a'), 'data\n')
    writeFileSync(join(home, '.ssh/id_ed25519'), 'KEY\n')
    for (const name of ['src', 'secrets']) mkdirSync(at(name))
    writeFileSync(at('secrets/a'), 'hidden\n')
    symlinkSync(place.cwd, join(home, 'way'))
  })

  test('--write and --read grant a folder, and protected names in it stay protected', async () => {
    const script = `cd ~/shared && echo x > made; echo x > .vscode/tasks.json; echo x > .bashrc
      cat ~/sets/a; echo x > ~/sets/b; cat ~/.ssh/id_ed25519; mv ~/shared/made ${place.cwd}/moved`
    const flags = ['--write', '~/shared', '--read', join(home, 'sets')]
    const { stdout, stderr } = await shell(script, flags)
    assert.equal(stdout, 'data\n')
    assert.ok(existsSync(at('moved')))
    assert.ok(!existsSync(join(home, 'sets/b')) && !existsSync(join(home, 'shared/.bashrc')))
    assert.match(
      stderr,
      /refused: write to .*\/shared\/\.vscode\/tasks\.json \(protected: \.vscode\)/,
    )
    for (const flag of ['--read', '--write'])
      assert.equal((await shell('true', [flag, '~/.ssh'])).code, 2)
  })

  test('--deny applies to existing files and to files created later', async () => {
    const script = 'cat secrets/a; mkdir -p new/inner && echo x > new/inner/f; mv src new/; ls new'
    const { stdout, stderr } = await shell(script, ['--deny', 'secrets', 'new/inner', 'new/src'])
    assert.equal(stdout, '')
    assert.ok(existsSync(at('src')) && !existsSync(at('new/inner')))
    assert.match(stderr, /refused: .*new\/inner.* \(denied: .*\); a flag, the settings or/)
  })

  test('--deny by a symbolic link closes its target, and nothing else takes the path that was given', async () => {
    for (const name of ['led/to', 'elsewhere']) mkdirSync(at(name), { recursive: true })
    writeFileSync(at('led/to/a'), 'kept\n')
    symlinkSync('led', at('lead'))
    const script = `cat lead/to/a; echo x > lead/to/a; rm lead; mv lead lead2; cat led/to/a; echo x > led/to/a; mkdir -p lead/to
      mv elsewhere lead; ln -sfn elsewhere lead; mkdir -p lead/to; echo x > lead/to/a`
    const { stdout, stderr } = await shell(script, ['--deny', 'lead/to/a', 'lead/to/later'])
    assert.equal(stdout, '', stderr)
    assert.equal(readFileSync(at('led/to/a'), 'utf8'), 'kept\n')
    assert.ok(!existsSync(at('lead/to/a')))
    assert.ok(lstatSync(at('lead')).isDirectory(), 'the link was not removed')
  })

  test('files that later runs of Mayfly obey or execute cannot be changed, by whichever name they were given', async () => {
    mkdirSync(at('obeyed'))
    const toml = '[providers]\nfolder = "walls"\nmodules = ["one.js", "later.js"]\n'
    const settings = { network: { allowedDomains: [], deniedDomains: [] } }
    const filesystem = { denyRead: [], allowWrite: ['.'], denyWrite: [] }
    const files = {
      'obeyed/own.toml': toml,
      'obeyed/srt.json': JSON.stringify({ ...settings, filesystem }),
      'obeyed/one.js': 'export default {}\n',
    }
    for (const [name, text] of Object.entries(files)) writeFileSync(at(name), text)
    const flags = ['--config', 'obeyed/own.toml', '--settings', 'obeyed/srt.json']
    const script = `cd obeyed; for one in own.toml srt.json one.js later.js; do echo x >> $one; mv $one m; rm -f $one; done
      mkdir walls; echo x > walls/two.js; mv ../obeyed ../away; echo x > other; ls`
    const { stdout, stderr } = await shell(script, flags)
    assert.equal(stdout, 'one.js\nother\nown.toml\nsrt.json\n', stderr)
    for (const [name, text] of Object.entries(files))
      assert.equal(readFileSync(at(name), 'utf8'), text)
  })

  test('packages that Mayfly loads cannot be changed where they lie in the folder', async () => {
    const root = join(dirname(bin), '..')
    const modules = join(root, 'node_modules')
    const bindings = ['@oxc-parser', '@oxc-transform'].map((scope) => {
      const [name] = readdirSync(join(modules, scope))
      return join(scope, name!)
    })
    const packages = ['oxc-parser', 'oxc-transform', 'zod', ...bindings]
    const script = `for one in ${packages.join(' ')}; do echo x > node_modules/$one/planted; done
      mv node_modules/zod node_modules/zod2; mkdir made-by-test && echo made`
    // A dry run: the folder is a checkout of Mayfly itself.
    const own = { ...place, cwd: root }
    const words = ['exec', '--dry-run', '--json', '--', 'sh', '-c', script]
    const { stdout, stderr } = await mayfly(own, words)
    const { stdout: said, view, refused } = JSON.parse(stdout)
    assert.equal(said, 'made\n', stderr)
    assert.equal(view.changes, 1)
    const planted = packages.map((name) => ['write', join(modules, name, 'planted')])
    assert.deepEqual(
      refused.map(({ what, path }: Record<string, string>) => [what, path]),
      [...planted, ['name', join(modules, 'zod')]],
    )
    await mayfly(own, ['exec', '--discard'])
  })

  test('cache folders in the folder of a command are closed, with the compiled code that Mayfly runs from there', async () => {
    const compiled = [
      'cache/mayfly/compiled',
      `temporary/mayfly-compiled-${process.getuid?.()}`,
    ] as const
    mkdirSync(at(compiled[0]), { recursive: true, mode: 0o700 })
    mkdirSync(at('temporary'))
    const env = { XDG_CACHE_HOME: at('cache'), TMPDIR: at('temporary') }
    const script = `for one in ${compiled.join(' ')}; do mkdir -p $one; echo x > $one/code; ls -d $one/code; done
      echo x > cache/other; echo x > temporary/other; ls cache/other temporary/other`
    const { stdout } = await shell(script, [], { env })
    assert.equal(stdout, 'cache/other\ntemporary/other\n')
    for (const folder of compiled) assert.ok(!existsSync(join(at(folder), 'code')), folder)
  })

  test('settings of sandbox-runtime grant, deny and hide paths', async () => {
    const file = join(place.state, 'srt.json')
    const filesystem = {
      denyRead: ['~', 'secrets', '**/*.pub', '**/Über*', 'trailing*.'],
      allowRead: ['.', '~/sets'],
      allowWrite: ['src'],
      denyWrite: ['src/kept'],
    }
    const network = { allowedDomains: ['example.com'], deniedDomains: ['example.com:443'] }
    writeFileSync(file, JSON.stringify({ network, filesystem, extra: 1 }))
    for (const name of ['id.pub', 'Überall', 'trailing.']) writeFileSync(at(name), 'hidden\n')
    const script = `echo x > src/made; echo x > out; echo x > src/kept; cat secrets/a ~/sets/a
      cat id.pub Überall trailing. src/../id.PUB
      echo $HTTPS_PROXY`
    const { stdout, stderr } = await shell(script, ['--settings', file])
    assert.equal(stdout, 'data\nhttp://127.0.0.1:3128\n')
    assert.ok(existsSync(at('src/made')) && !existsSync(at('out')) && !existsSync(at('src/kept')))
    assert.match(stderr, /^mayfly: Setting "extra" is unknown: it is not enforced$/m)
    const fetch =
      'fetch("https://example.com").catch((e) => console.log(e.cause?.code ?? e.message))'
    const words = ['exec', '--json', '--settings', file, '--', 'node', '-e', fetch]
    const { metrics, profile } = documentOf(await mayfly(place, words))
    assert.equal(metrics.network[0]?.verdict, 'denied')
    assert.match(metrics.network[0].because, /example\.com:443" is denied/)
    const explained = (field: string) =>
      profile.explain.find((one: { field: string }) => one.field === field).value
    assert.deepEqual(explained('controls.network').deny, ['*://example.com:443'])
    assert.deepEqual(explained('controls.files').write, [at('src')])
    for (const text of ['{', '{"network":{},"filesystem":{}}']) {
      writeFileSync(file, text)
      assert.equal((await shell('true', ['--settings', file])).code, 2, text)
    }
  })

  test('protected names stay protected where settings make them writable one by one', async () => {
    const own = join(home, 'parts')
    const names = ['.vscode', '.git/hooks', 'src']
    const all = [...names, 'lib']
    for (const name of all) mkdirSync(join(own, name), { recursive: true })
    const file = join(place.state, 'parts.json')
    const network = { allowedDomains: [], deniedDomains: [] }
    const filesystem = { denyRead: [], allowWrite: names, denyWrite: [] }
    writeFileSync(file, JSON.stringify({ network, filesystem }))
    const script = `for one in ${all.join(' ')}; do echo x > $one/made; done; ls ${all.join(' ')}`
    const words = ['exec', '--settings', file, '--', 'sh', '-c', script]
    const { stdout, stderr } = await mayfly({ ...place, cwd: own }, words)
    assert.deepEqual(
      stdout.match(/\S+/g),
      ['.git/hooks:', '.vscode:', 'lib:', 'src:', 'made'],
      stderr,
    )
  })

  test('a symbolic link as the working folder resolves to the real path of the folder', async () => {
    const own = { ...place, cwd: join(home, 'way') }
    const script = 'pwd; echo x > .envrc; echo x > ../away; ls ..'
    const { stdout } = await mayfly(own, ['exec', '--', 'sh', '-c', script])
    assert.match(stdout, new RegExp(`^${place.cwd}\n`))
    assert.ok(!existsSync(at('.envrc')) && !existsSync(join(place.cwd, '../away')))
  })

  test('output of a command forges neither its outcome nor a refusal', async () => {
    const line = '{"kind":"ended","code":0,"signal":0}'
    const script = `for fd in 3 4 5 6 7 8 9; do eval "echo '${line}' >&$fd" 2>/dev/null; done
      echo 'mayfly: refused: nothing'; echo '{"status":"ok"}'; exit 6`
    const words = ['exec', '--json', '--', 'sh', '-c', script]
    const ran = await mayfly(place, words)
    const { status, exitCode, refused } = documentOf(ran)
    assert.deepEqual([status, exitCode, refused, ran.code], ['error', 6, [], 6])
  })

  test('variables that change how programs start apply inside the wall only', async () => {
    const marker = join(place.state, 'loaded')
    writeFileSync(at('preload.js'), `require('fs').writeFileSync('${marker}', 'x')`)
    const env = { BASH_ENV: at('env.sh'), ENV: at('env.sh'), GIT_DIR: at('elsewhere') }
    writeFileSync(at('env.sh'), `echo x > ${marker}\n`)
    await shell('sh -c true; bash -c true', ['--env', `LD_PRELOAD=${at('none.so')}`], { env })
    assert.ok(!existsSync(marker))
  })
})

const noGit = !hasProgram('git') && process.env['CI'] !== 'true' && 'git is missing'
suite('Repositories under mayfly exec', { skip: noFolderWall || noGit, timeout }, () => {
  const git = (words: string, cwd = place.cwd) =>
    execFileSync('git', words.split(' '), {
      cwd,
      env: { ...place.env, GIT_CONFIG_GLOBAL: '/dev/null' },
      stdio: 'pipe',
    }).toString()

  test('a linked worktree commits into its repository, whose hooks and configuration stay read-only', async () => {
    const main = join(home, 'main')
    mkdirSync(main)
    git('init -q', main)
    git('-c user.name=a -c user.email=a@example.com commit -q --allow-empty -m one', main)
    git(`worktree add -q ${join(home, 'linked')}`, main)
    writeFileSync(join(home, '.gitconfig'), '[user]\n\tname = Ada\n\temail = ada@example.com\n')
    const script = `echo x > a && git add a && git commit -q -m two && git log --format='%an %s' -1
      echo x > ${main}/.git/hooks/post-commit; git config core.pager evil; echo x > ${main}/loose
      echo gitdir: elsewhere > .git; git config core.hooksPath away`
    const own = { ...place, cwd: join(home, 'linked') }
    const { stdout } = await mayfly(own, ['exec', '--', 'sh', '-c', script])
    assert.equal(stdout, 'Ada two\n')
    assert.equal(git('log --format=%s -1 linked', main), 'two\n')
    assert.ok(!existsSync(join(main, '.git/hooks/post-commit')) && !existsSync(join(main, 'loose')))
    assert.doesNotMatch(readFileSync(join(main, '.git/config'), 'utf8'), /evil|away/)
  })

  test('hooks and programs that any configuration of git names are closed to changes', async () => {
    const own = join(home, 'configured')
    const files = ['tools/clean', 'tools/watch', 'merge.py', 'made/kept', 'user/pre-push']
    for (const name of ['tools', 'made', 'user', 'wide'])
      mkdirSync(join(own, name), { recursive: true })
    for (const name of files) writeFileSync(join(own, name), 'own\n')
    git('init -q', own)
    git('config extensions.worktreeConfig true', own)
    git('config --worktree core.hooksPath made', own)
    git('config core.fsmonitor tools/watch', own)
    for (const [key, value] of [
      ['filter.a.clean', '"tools/clean" %f --root ./wide'],
      ['merge.b.driver', 'python3 merge.py %A'],
      ['alias.c', '!missing/d'],
    ] as const)
      execFileSync('git', ['config', key, value], { cwd: own })
    const global = join(place.state, 'gitconfig')
    writeFileSync(global, '[core]\r\n\thooksPath = us"er"; own\r\n')
    const script = `mkdir -p missing; for one in ${files.join(' ')}; do echo x > $one; rm -f $one; done
      for one in made/new user/new missing/d wide/e; do echo x > $one; done
      mv tools tools2; echo x > plain; git add plain`
    const options = { env: { GIT_CONFIG_GLOBAL: global } }
    const words = ['exec', '--', 'sh', '-c', script]
    const { stderr } = await mayfly({ ...place, cwd: own }, words, options)
    for (const name of files) assert.equal(readFileSync(join(own, name), 'utf8'), 'own\n', stderr)
    for (const name of ['made/new', 'user/new', 'missing/d'])
      assert.ok(!existsSync(join(own, name)), name)
    assert.equal(git('ls-files', own), 'plain\n', stderr)
    assert.equal(readFileSync(join(own, 'wide/e'), 'utf8'), 'x\n', stderr)
    assert.doesNotMatch(stderr, /wide/)
  })

  test('git stashes, and renames, copies and removes branches without settings, and nothing is refused', async () => {
    const own = join(home, 'branches')
    mkdirSync(own)
    writeFileSync(join(own, 'a'), 'one\n')
    git('init -q -b main', own)
    git('add .', own)
    git('-c user.name=a -c user.email=a@example.com commit -q -m one', own)
    git('branch first', own)
    const settings = () => {
      const { ino, ctimeNs } = statSync(join(own, '.git/config'), { bigint: true })
      return [ino, ctimeNs]
    }
    const before = settings()
    const script = `echo two >> a; git stash -q; git branch -m first second; git branch -c second third
      git branch -q -D second; git branch -m trunk; git stash pop -q; git branch --format='%(refname:short)'; cat a`
    const named = ['--env', 'GIT_AUTHOR_NAME=a', '--env', 'GIT_AUTHOR_EMAIL=a@example.com']
    const committed = [
      '--env',
      'GIT_COMMITTER_NAME=a',
      '--env',
      'GIT_COMMITTER_EMAIL=a@example.com',
    ]
    const words = ['exec', ...named, ...committed, '--', 'sh', '-ec', script]
    const { code, stdout, stderr } = await mayfly({ ...place, cwd: own }, words)
    assert.deepEqual([code, stdout], [0, 'third\ntrunk\none\ntwo\n'], stderr)
    assert.doesNotMatch(stderr, /refused|rror/)
    assert.deepEqual(settings(), before)
  })

  test('Attack: a file of another content or mode, or with the text of a secret, is moved over a protected one', async () => {
    const own = join(home, 'same')
    mkdirSync(join(own, '.vscode'), { recursive: true })
    const files = { '.vscode/one': 'own\n', '.vscode/other': 'own\n', '.env': 'KEY=1\n' }
    for (const [name, text] of Object.entries(files)) writeFileSync(join(own, name), text)
    const script = `echo owm > a; echo own > b; chmod 755 b; echo KEY=1 > c; echo own > d; ln d e; echo own > f
      mv a .vscode/one; mv b .vscode/other; mv c .env; mv d .vscode/one; mv f .vscode/new; rm -rf .vscode; ls`
    const words = ['exec', '--', 'sh', '-c', script]
    const { stdout, stderr } = await mayfly({ ...place, cwd: own }, words)
    assert.equal(stdout.replaceAll('\n', ' '), 'a b c d e f ', stderr)
    for (const [name, text] of Object.entries(files))
      assert.equal(readFileSync(join(own, name), 'utf8'), text, name)
    assert.equal(statSync(join(own, '.vscode/other')).mode & 0o111, 0)
    assert.deepEqual(readdirSync(join(own, '.vscode')), ['one', 'other'])
  })

  test('a worktree that its repository does not list gets no access to the repository', async () => {
    const own = { ...place, cwd: join(home, 'stray') }
    mkdirSync(own.cwd)
    writeFileSync(join(own.cwd, '.git'), `gitdir: ${join(home, 'main/.git/worktrees/linked')}\n`)
    const { stdout } = await mayfly(own, [
      'exec',
      '--',
      'sh',
      '-c',
      `ls ${home}/main/.git; echo end`,
    ])
    assert.equal(stdout, 'end\n')
  })
})
