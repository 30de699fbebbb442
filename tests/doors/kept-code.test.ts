import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { codeFile, scriptOf } from '../../bin/kept-code.js'
import { readWhole } from '../../bin/small.js'
import { stranger } from './bundle-attacks.ts'

/** Compiled code of a bundle, kept for the next process: whose it may be, and for which source it counts. */
const folder = mkdtempSync(join(tmpdir(), 'mayfly-kept-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const isRoot = process.getuid?.() === 0
const body = Array.from({ length: 500 }, (_, n) => `sum += value * ${n}`).join('\n')
const source = (answer: string) =>
  `(() => { const big = (value) => { let sum = 0\n${body}\nreturn sum }\nreturn () => big(1) && '${answer}' })`

let count = 0

interface Place {
  readonly root: string
  readonly file: string
}

function place(): Place {
  const root = join(folder, `root-${(count += 1)}`)
  mkdirSync(root)
  return { root, file: codeFile(folder, 'run', root)! }
}

/** Result of V8's check of the code that was read; undefined if none was. */
type Rejected = boolean | undefined

/** In a process of its own: V8 finds a source that it compiled before without kept code. */
function run({ file }: Place, answer = 'one', key = answer): Rejected {
  const program = `import { scriptOf } from ${moduleAt('kept-code.js')}
    import { readWhole } from ${moduleAt('small.js')}
    const options = { url: 'file:///script.js', ...${JSON.stringify({ key, file })}, read: readWhole }
    const { script, keep } = scriptOf(${JSON.stringify(source(answer))}, options)
    const answer = script.runInThisContext()()()
    keep()
    console.log(JSON.stringify({ answer, rejected: script.cachedDataRejected }))`
  const args = ['--input-type=module', '--eval', program]
  const printed = execFileSync(process.execPath, args, { encoding: 'utf8' })
  const ran = JSON.parse(printed) as { readonly answer: string; readonly rejected?: boolean }
  assert.equal(ran.answer, answer)
  return ran.rejected
}

const moduleAt = (name: string) => JSON.stringify(join(import.meta.dirname, '../../bin', name))
const isTaken = (rejected: Rejected): boolean => rejected === false

/** Keeps code without a process of its own. */
function keepHere({ file }: Place): void {
  const options = { url: 'file:///script.js', key: 'one', file, read: readWhole }
  const { script, keep } = scriptOf(source('one'), options)
  script.runInThisContext()
  keep()
}

suite('Compiled code of a bundle', { skip: !process.getuid && 'Windows has no uids' }, () => {
  test('has the functions that were called, which the next process takes', () => {
    const one = place()
    assert.equal(run(one), undefined)
    assert.ok(readFileSync(one.file).length > body.length / 2)
    assert.ok(isTaken(run(one)))
  })

  test('is replaced for another source of the same length', () => {
    const one = place()
    run(one, 'one')
    assert.equal(run(one, 'two'), undefined)
    assert.ok(isTaken(run(one, 'two')))
  })

  test('is replaced where V8 rejects it', () => {
    const one = place()
    writeFileSync(one.file, 'one\nno code', { mode: 0o600 })
    assert.equal(run(one), true)
    assert.ok(isTaken(run(one)))
  })

  test('is removed when the next is kept, if its root is gone or its writer was killed', () => {
    const [gone, killed] = [place(), join(folder, 'making-999999999')]
    keepHere(gone)
    writeFileSync(killed, 'half')
    utimesSync(killed, 1, 1)
    rmSync(gone.root, { recursive: true })
    const one = place()
    keepHere(one)
    assert.deepEqual([existsSync(gone.file), existsSync(killed)], [false, false])
    assert.ok(existsSync(one.file))
  })

  test('is kept for 32 roots at most', () => {
    const all = Array.from({ length: 34 }, () => place())
    for (const one of all) keepHere(one)
    assert.ok(readdirSync(folder).filter((name) => name.startsWith('code-')).length <= 32)
    assert.ok(existsSync(all.at(-1)!.file))
  })

  test('is of one set of flags, so that two sets in turns do not replace each other', (t) => {
    const [before, flags] = [process.env['NODE_OPTIONS'], '--max-old-space-size=900']
    t.after(() => void Object.assign(process.env, { NODE_OPTIONS: before ?? '' }))
    const plain = place()
    process.env['NODE_OPTIONS'] = flags
    const flagged = { ...plain, file: codeFile(folder, 'run', plain.root)! }
    assert.notEqual(flagged.file, plain.file)
    run(flagged)
    process.env['NODE_OPTIONS'] = ''
    run(plain)
    assert.ok(isTaken(run(plain)))
    process.env['NODE_OPTIONS'] = flags
    assert.ok(isTaken(run(flagged)))
  })

  test('is neither read nor kept without a folder, or where Node is told to keep none', (t) => {
    assert.equal(codeFile(undefined, 'run', folder), undefined)
    process.env['NODE_DISABLE_COMPILE_CACHE'] = '1'
    t.after(() => delete process.env['NODE_DISABLE_COMPILE_CACHE'])
    assert.equal(codeFile(folder, 'run', folder), undefined)
  })
})

suite('Compiled code that is not trusted', { skip: !process.getuid && 'Windows' }, () => {
  const attacks: Readonly<Record<string, (file: string) => void>> = {
    'may be written by a group': (file) => chmodSync(file, 0o660),
    'may be written by others': (file) => chmodSync(file, 0o602),
    'has a second name': (file) => linkSync(file, `${file}-second`),
    'is a symbolic link': (file) => {
      renameSync(file, `${file}-elsewhere`)
      symlinkSync(`${file}-elsewhere`, file)
    },
    'is of another key': (file) => {
      const code = readFileSync(file)
      code.write('eno')
      writeFileSync(file, code)
    },
    'is half-written': (file) => truncateSync(file, 2_000),
  }
  const planted = { 'is of another user': (file: string) => chownSync(file, stranger, stranger) }
  const attacked = (attack: (file: string) => void) => {
    const one = place()
    run(one)
    attack(one.file)
    assert.ok(!isTaken(run(one)))
    assert.ok(isTaken(run(one)))
  }
  for (const [title, attack] of Object.entries(attacks))
    test(`Attack: compiled code ${title}`, () => attacked(attack))
  for (const [title, attack] of Object.entries(planted))
    test(`Attack: compiled code ${title}`, { skip: !isRoot && 'needs root' }, () =>
      attacked(attack),
    )
})
