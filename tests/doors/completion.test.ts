import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { bin } from './program.ts'

const script = (shell: string): string =>
  execFileSync(process.execPath, [bin, 'completion', shell], { encoding: 'utf8' })

/** What a real bash offers after these words; the last is the one being typed. */
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
const help = readFileSync(new URL('../golden/cli-help.txt', import.meta.url), 'utf8')

suite('Completion in bash', () => {
  test('bash takes the script', () => {
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
    assert.deepEqual(offered('--state', 'run', 'se'), ['serve'])
    assert.deepEqual(offered('--config', 'r'), [])
    assert.deepEqual(offered('run', ''), [])
  })

  test('The shells are offered', () => {
    assert.deepEqual(offered('completion', ''), ['bash', 'zsh', 'fish'])
  })
})

for (const shell of ['zsh', 'fish']) {
  const isHere = spawnSync(shell, ['--version']).status === 0
  const skip = isHere ? false : `${shell} is not installed here`
  test(`${shell} takes its script`, { skip }, () => {
    const run = spawnSync(shell, ['-n'], { input: script(shell), encoding: 'utf8' })
    assert.deepEqual([run.status, run.stderr], [0, ''])
  })
}

test('A shell that is not known is refused with those that are', () => {
  const run = spawnSync(process.execPath, [bin, 'completion', 'tcsh'], { encoding: 'utf8' })
  assert.equal(run.status, 2)
  assert.match(run.stderr, /bash, zsh, fish/)
})
