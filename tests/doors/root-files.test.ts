import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { after, suite, test } from 'node:test'
import { serverUid } from '../../src/contract/uids.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { isMissing } from '../walls/process-stands.ts'
import { documentOf, makePlace, mayfly, noOrdinaryUser, startServer } from './program.ts'

/** Files that only their owner may read, and commands of root, which act as the server's user. */
const place = makePlace()
after(() => place.remove())
const otherUid = 12_345
const at = (name: string) => join(place.cwd, name)

function write(name: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(at(name)), { recursive: true })
  writeFileSync(at(name), text)
  chmodSync(at(name), mode)
}

function shut(name: string): void {
  mkdirSync(at(name), { recursive: true })
  chmodSync(at(name), 0o700)
}

const outsideOfCi = { CI: '', NODE_TEST_CONTEXT: '' }
const run = (words: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  mayfly(place, ['run', ...words], { env })
const resultOf = async (...words: readonly string[]) => {
  const ran = await run([...words, '--json'])
  const { status, result, server, error } = documentOf(ran)
  return error?.message ?? [status, result, server]
}
const ownAnswer = (result: unknown) => ['ok', result, 'own']

suite('Root', { skip: noOrdinaryUser() }, () => {
  write('file/job.js', 'return 1', 0o600)
  write('folder/job.js', 'return 1')
  shut('folder')
  write('above/it/job.js', 'return 1')
  shut('above')
  write('plain.js', 'return input')
  write('in.json', '{"a":1}', 0o600)
  write('private.toml', '[limits]\ntimeout = "4s"\n', 0o600)

  test('Programs that only root may read run, by mode of the file, its folder, and one above', async () => {
    for (const name of ['file/job.js', 'folder/job.js', 'above/it/job.js', at('above/it/job.js')])
      assert.deepEqual(await resultOf(name), ownAnswer(1), name)
    const here = await mayfly({ ...place, cwd: at('folder') }, ['run', 'job.js', '--json'])
    assert.deepEqual(documentOf(here)['result'], 1, here.stderr)
  })

  test('A running server gets them too, as bytes', async () => {
    await using _server = await startServer(place)
    for (const name of ['file/job.js', 'above/it/job.js']) {
      const ran = await run([name, '--json'], outsideOfCi)
      assert.deepEqual([documentOf(ran)['result'], documentOf(ran)['server']], [1, 'attached'])
    }
    const ran = await run(['plain.js', '--input', '@in.json', '--json'], outsideOfCi)
    assert.deepEqual([documentOf(ran)['result'], documentOf(ran)['server']], [{ a: 1 }, 'attached'])
  })

  test('An input, a file of the job, a folder of files and a configuration may be private', async () => {
    assert.deepEqual(await resultOf('plain.js', '--input', '@in.json'), ownAnswer({ a: 1 }))
    write('lib/part.js', 'export const part = 7', 0o600)
    write('uses.js', "import { part } from './lib/part.js'\nexport default () => part")
    for (const file of ['lib', 'lib/part.js'])
      assert.deepEqual(await resultOf('uses.js', '--file', file), ownAnswer(7), file)
    const ran = await run(['plain.js', '--config', 'private.toml', '--json', '--input', '2'])
    const { result, profile } = documentOf(ran)
    const timeout = profile.explain.find(({ field }: any) => field === 'limits.timeout')
    assert.deepEqual([result, timeout.value], [2, 4000])
  })

  test('Standard input is not lost where a file is private', async () => {
    write('read.py', 'import sys; print(sys.stdin.read())', 0o600)
    const code = { stdin: 'return 8' }
    const piped = await mayfly(place, ['run', '-', '--config', 'private.toml', '--json'], code)
    assert.deepEqual(documentOf(piped)['result'], 8, piped.stderr)
    const beside = await mayfly(place, ['run', '-', '--file', 'lib', '--json'], code)
    assert.deepEqual(documentOf(beside)['result'], 8, beside.stderr)
  })

  test('Private files and folders are analysed and inspected, and the report is written', async () => {
    for (const name of ['file/job.js', 'folder', 'above']) {
      const [one] = documentOf(await mayfly(place, ['analyze', name, '--json'])) as unknown as any[]
      assert.deepEqual([one.threatScore, one.file.endsWith('job.js')], [0, true], name)
    }
    const words = ['inspect', 'folder/job.js', '--html', 'folder/report.html', '--tier', 'process']
    const ran = await mayfly(place, words)
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(readFileSync(at('folder/report.html'), 'utf8'), /^<!doctype html>/i)
  })

  test('A mayfly.toml in a private folder counts', async () => {
    write('closed/job.js', 'return 1')
    write('closed/mayfly.toml', '[limits]\nnothing = 1\n')
    shut('closed')
    const ran = await mayfly({ ...place, cwd: at('closed') }, ['run', 'job.js'])
    assert.deepEqual([ran.code, /mayfly\.toml:2:1: limits/.test(ran.stderr)], [2, true], ran.stderr)
  })

  test('Private packages are found, and the picture is written to a folder of root', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('app/node_modules/left/index.js', 'module.exports = 7')
    write('app/job.mjs', "import left from 'left'\nexport default () => left")
    write('app/.venv/lib/python3.11/site-packages/lefty.py', 'x = 7')
    write('app/.venv/pyvenv.cfg', '')
    write('app/job.py', 'import lefty\nresult = lefty.x')
    const all = async () => {
      assert.deepEqual(await resultOf('app/job.mjs'), ownAnswer(7))
      assert.deepEqual(await resultOf('app/job.mjs', '--packages', 'app'), ownAnswer(7))
      assert.deepEqual(await resultOf('app/job.py', '--packages', 'app/.venv'), ownAnswer(7))
    }
    shut('app')
    await all()
    chmodSync(at('app'), 0o755)
    execFileSync('chmod', ['-R', 'go=', at('app/node_modules'), at('app/.venv')])
    await all()
    assert.deepEqual(await resultOf('plain.js', '--picture', 'folder/life.svg'), ownAnswer(null))
    assert.match(readFileSync(at('folder/life.svg'), 'utf8'), /^<svg/)
    assert.equal(lstatSync(at('folder/life.svg')).uid, 0)
  })

  test('Files of another user are read with the rights of that user alone', async () => {
    write('home/job.js', 'return 3')
    write('home/root.js', 'return 4', 0o600)
    symlinkSync('/etc/shadow', at('home/link.js'))
    execFileSync('chown', ['-R', `${otherUid}:${otherUid}`, at('home')])
    chownSync(at('home/root.js'), 0, 0)
    shut('home')
    assert.deepEqual(await resultOf('home/job.js'), ownAnswer(3))
    for (const name of ['root.js', 'link.js'])
      assert.match(
        String(await resultOf(`home/${name}`)),
        /Cannot read "home\/.*": the folder ".*\/home" is private to uid 12345, and Mayfly of root acts as uid 52000 here/,
      )
  })

  test('Packages that cannot be read are named, in place of "install it there"', async () => {
    write('theirs/job.mjs', "import left from 'left'\nexport default () => left")
    mkdirSync(at('theirs/node_modules'), { mode: 0o700 })
    chownSync(at('theirs'), otherUid, otherUid)
    assert.match(
      String(await resultOf('theirs/job.mjs')),
      /^Cannot use packages from ".*theirs\/node_modules": the folder ".*theirs\/node_modules" is private to root/,
    )
  })

  test('Attack: what another user may change leads root to no private file', async () => {
    mkdirSync(at('open'))
    chmodSync(at('open'), 0o777)
    symlinkSync(at('above/it/job.js'), at('open/job.js'))
    symlinkSync(at('above'), at('open/way'))
    execFileSync('chown', ['-h', `${otherUid}`, at('open/job.js'), at('open/way')])
    write('open/own.js', 'return 1', 0o600)
    for (const name of ['job.js', 'way/it/job.js', 'own.js'])
      assert.match(String(await resultOf(`open/${name}`)), /^Cannot read/, name)
  })

  test('Attack: a link of one user leads root to no private file of another', async () => {
    write('two/job.js', 'return 1', 0o600)
    write('two/shut/job.js', 'return 1')
    chownSync(at('two/job.js'), otherUid, otherUid)
    chownSync(at('two/shut'), otherUid, otherUid)
    chmodSync(at('two/shut'), 0o700)
    symlinkSync(at('two/job.js'), at('two/own.js'))
    assert.deepEqual(await resultOf('two/own.js'), ownAnswer(1))
    write('third/note', '')
    symlinkSync(at('two/job.js'), at('third/job.js'))
    symlinkSync(at('two/shut'), at('third/way'))
    execFileSync('chown', ['-Rh', `${otherUid + 1}`, at('third')])
    for (const name of ['third/job.js', 'third/way/job.js'])
      assert.match(String(await resultOf(name)), /^Cannot read/, name)
    assert.match(String(await resultOf('plain.js', '--file', 'third/way')), /^Cannot include/)
  })

  test('The process that read a private file as root has no right of root when the job runs', async () => {
    write('file/long.js', 'console.log("on"); await new Promise(() => {})', 0o600)
    const states: (readonly string[])[] = []
    await mayfly(place, ['run', 'file/long.js', '--timeout', '60s'], {
      started: (child) =>
        child.stdout!.once('data', () => {
          for (const pid of descendantsOf(child.pid!)) {
            const text = readFileSync(`/proc/${pid}/status`, 'utf8')
            const line = (name: string) => new RegExp(`^${name}:\\s*(.*)`, 'm').exec(text)![1]!
            if (/mayfly\.js/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8')))
              states.push(['Uid', 'CapPrm', 'NoNewPrivs'].map(line))
          }
          child.kill('SIGINT')
        }),
    })
    const uids = Array.from({ length: 4 }, () => serverUid).join('\t')
    assert.ok(
      states.some((one) => one.join() === [uids, '0000000000000000', '1'].join()),
      JSON.stringify(states),
    )
  })

  test('A folder that root may write to and the server may not is named with its owner', async () => {
    mkdirSync(at('above/out'))
    const ran = await run(['plain.js', '--artifacts', 'above/out'])
    assert.match(
      ran.stderr,
      /it belongs to uid 0, and Mayfly writes as uid 52000\n.*chown it to 52000/,
    )
    const served = await mayfly(place, ['serve', 'above', '--port', '0'])
    assert.match(served.stderr, /Cannot serve "above": the folder ".*above" is private to root/)
  })
})
