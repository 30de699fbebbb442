import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { bin } from './program.ts'

const script = (shell: string): string =>
  execFileSync(process.execPath, [bin, 'completion', shell], { encoding: 'utf8' })

/** Completions that a real bash offers for these words; the last is the one being typed. */
function offered(...words: readonly string[]): readonly string[] {
  const typed = words.map((word) => `'${word}'`).join(' ')
  const ask = `
    complete -p mayfly >/dev/null || exit 1
    COMP_WORDS=(mayfly ${typed}) COMP_CWORD=${words.length}
    _mayfly
    printf '%s\\n' "\${COMPREPLY[@]}"`
  const run = spawnSync('bash', ['--norc', '-c', `${bashScript}\n${ask}`], { encoding: 'utf8' })
  assert.equal(run.status, 0, run.stderr)
  assert.equal(run.stderr, '')
  return run.stdout.split('\n').filter((line) => line !== '')
}

const bashScript = script('bash')

/** Writes each script under the file name that its shell expects. */
const folder = mkdtempSync(join(tmpdir(), 'mayfly-completion-'))
after(() => rmSync(folder, { recursive: true, force: true }))
writeFileSync(join(folder, '_mayfly'), script('zsh'))
writeFileSync(join(folder, 'mayfly.fish'), script('fish'))

/** The function runs in zsh; what it hands to zsh's own functions is printed in place of being shown. */
const zshAsk = `
  compdef() { : }
  _files() { print -r -- 'a file' }
  _describe() { local one; for one in "\${(@P)@[-1]}"; do print -r -- "\${one%%:*}"; done }
  source ${folder}/_mayfly
  words=("$@") CURRENT=$#
  _mayfly`
const zshFind = `
  fpath=(${folder} $fpath)
  autoload -U compinit && compinit -u -D
  print -r -- "$_comps[mayfly]"`
const fishAsk = `
  source ${folder}/mayfly.fish
  complete -C $argv[1]`

function lines(program: string, args: readonly string[]): readonly string[] {
  const run = spawnSync(program, args, { encoding: 'utf8', env: { ...process.env, HOME: folder } })
  assert.deepEqual([run.status, run.stderr], [0, ''])
  return run.stdout.split('\n').filter((line) => line !== '')
}
const help = readFileSync(new URL('../golden/cli-help.txt', import.meta.url), 'utf8')

suite('Completion in bash', () => {
  test('bash loads the script without an error', () => {
    const run = spawnSync('bash', ['-n'], { input: bashScript, encoding: 'utf8' })
    assert.deepEqual([run.status, run.stderr], [0, ''])
  })

  test('Every command of the help is offered, and those that begin as typed', () => {
    const [, listed = ''] = /^Commands:\n((?:.+\n)*)/m.exec(help) ?? []
    const commands = [...listed.matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name)
    assert.ok(commands.length > 5)
    assert.deepEqual(offered(''), commands)
    assert.deepEqual(offered('pro'), ['providers'])
    assert.deepEqual(offered('audit', 've'), ['verify'])
  })

  test('Options are those of the command and the global ones', () => {
    assert.deepEqual(offered('run', '--ti'), ['--tier', '--timeout'])
    assert.deepEqual(offered('run', '--qu'), ['--quiet'])
    assert.deepEqual(offered('audit', 'list', '--li'), ['--limit'])
    assert.deepEqual(offered('audit', '--li'), [])
  })

  test('The value of an option is no command, and is completed as a file', () => {
    assert.deepEqual(offered('--state', 'run', 'ser'), ['serve'])
    assert.deepEqual(offered('--config', 'r'), [])
    assert.deepEqual(offered('run', ''), [])
  })

  test('The shells are offered', () => {
    assert.deepEqual(offered('completion', ''), ['bash', 'zsh', 'fish'])
  })
})

const skipWithout = (shell: string): string | false =>
  spawnSync(shell, ['--version']).status === 0 || process.env['CI'] === 'true'
    ? false
    : `${shell} is not installed here`

suite('Completion in zsh', { skip: skipWithout('zsh') }, () => {
  /** Arguments passed to zsh's own function; `words` are those after the program, the last the one being typed. */
  const handedOver = (...words: readonly string[]): readonly string[] =>
    lines('zsh', ['-f', '-c', zshAsk, 'zsh', 'mayfly', ...words])

  test('zsh loads the script, and compinit finds it by its first line', () => {
    assert.deepEqual(lines('zsh', ['-f', '-c', zshFind]), ['_mayfly'])
  })

  test('zsh gets the same commands, options and values as bash', () => {
    assert.deepEqual(handedOver(''), offered(''))
    assert.deepEqual(handedOver('audit', ''), offered('audit', ''))
    assert.deepEqual(handedOver('run', '-'), offered('run', '-'))
    assert.deepEqual(handedOver('--state', 'run', 'completion', ''), ['bash', 'zsh', 'fish'])
    assert.deepEqual(handedOver('run', ''), ['a file'])
    assert.deepEqual(handedOver('run', '--config', ''), ['a file'])
  })
})

suite('Completion in fish', { skip: skipWithout('fish') }, () => {
  const offers = (line: string): readonly string[] =>
    lines('fish', ['--no-config', '-c', fishAsk, line]).map((one) => one.split('\t')[0]!)

  test('fish offers commands and options, as bash does', () => {
    const sorted = (...words: readonly string[]) => [...offered(...words)].sort()
    assert.deepEqual(offers('mayfly ').toSorted(), sorted(''))
    assert.deepEqual(offers('mayfly audit ').toSorted(), sorted('audit', ''))
    assert.deepEqual(offers('mayfly run --ti'), ['--tier', '--timeout'])
    assert.deepEqual(offers('mayfly audit list --li'), ['--limit'])
    assert.deepEqual(offers('mayfly --state run completion '), ['bash', 'fish', 'zsh'])
  })
})

test('An unknown shell is refused with the list of the known shells', () => {
  const run = spawnSync(process.execPath, [bin, 'completion', 'tcsh'], { encoding: 'utf8' })
  assert.equal(run.status, 2)
  assert.match(run.stderr, /bash, zsh, fish/)
})
