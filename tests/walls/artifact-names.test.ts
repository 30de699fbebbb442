import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, suite, test } from 'node:test'
import { gatherArtifacts, gatherChanged, standingFiles } from '../../guest/process/artifacts.js'
import { findProgram } from '../../src/os/find-program.ts'
import { headed, programEndSchema } from '../../src/walls/wire.ts'

const base = mkdtempSync(path.join(tmpdir(), 'mayfly-artifact-names-'))
after(() => rmSync(base, { recursive: true, force: true }))

interface Gathered {
  readonly given: readonly string[]
  /** JSON as the runner sends it. */
  readonly leftOut: string
}

function inNode(work: string): Gathered {
  const given: string[] = []
  const leftOut = gatherArtifacts(work, 1024, (place: string) => void given.push(place), {})
  return { given, leftOut: JSON.stringify(leftOut) }
}

const PYTHON = `
import sys
sys.path.insert(0, ${JSON.stringify(path.join(import.meta.dirname, '../../guest/process'))})
sys.dont_write_bytecode = True
import mayfly_artifacts, mayfly_json
given = []
gathering = mayfly_artifacts.Gathering(sys.argv[1], 1024, lambda path, data: given.append(path), {})
gathering.gather()
print(mayfly_json.dumps({"given": given, "leftOut": mayfly_json.dumps(gathering.named())}))`

function inPython(work: string): Gathered {
  const args = ['-I', '-S', '-c', PYTHON, work]
  return JSON.parse(execFileSync('python3', args, { encoding: 'utf8' })) as Gathered
}

const hasPython = findProgram('python3') !== undefined
const runners = [
  { name: 'Node', gather: inNode, skip: false, unread: '\ufffd' },
  { name: 'Python', gather: inPython, skip: !hasPython && 'python3 is missing', unread: '?' },
] as const

/** A name in Latin-1, as in archives of old systems. */
const latin1 = (work: string, ...more: string[]) =>
  Buffer.concat([Buffer.from(`${work}/caf`), Buffer.of(0xe9), Buffer.from(more.join('/'))])

const leftIn = ({ leftOut }: Gathered) =>
  JSON.parse(leftOut) as readonly { readonly path: string; readonly because: string }[]

function readAsEnd(leftOut: string) {
  const head = `{"protocol":1,"status":"ok","encoding":"json","cpuTimeMs":0,"executionMs":0,"artifactsLeftOut":${leftOut}}`
  return headed(programEndSchema, Buffer.from(`${head}\nnull`))?.head.artifactsLeftOut
}

const skipped = process.platform !== 'linux' && 'other systems refuse names that are no UTF-8'

suite('Names of artifacts', { skip: skipped }, () => {
  for (const { name, gather, skip, unread } of runners) {
    test(`${name}: spaces and joiners of any kind come back`, { skip }, () => {
      const work = mkdtempSync(path.join(base, 'work-'))
      const names = [
        '9.41.00\u202fAM.png',
        'a\u00a0b',
        '\u8cc7\u6599\u3000\u6700\u7d42.csv',
        '\u{1f469}\u200d\u{1f467}.txt',
      ]
      for (const one of names) writeFileSync(path.join(work, one), 'x')
      const gathered = gather(work)
      assert.deepEqual(gathered.given.toSorted(), names.toSorted())
      assert.deepEqual(leftIn(gathered), [])
    })

    test(`${name}: names that are no text are reported, also of a folder`, { skip }, () => {
      const work = mkdtempSync(path.join(base, 'work-'))
      mkdirSync(latin1(work))
      writeFileSync(latin1(work, '/inside'), 'x')
      writeFileSync(latin1(work, '.txt'), 'x')
      for (const one of ['bell\u0007', 'half\u0085', 'back\\slash'])
        writeFileSync(path.join(work, one), 'x')
      const gathered = gather(work)
      assert.deepEqual(gathered.given, [])
      const shown = leftIn(gathered).map(({ path: place }) => place.split('/')[0] ?? '')
      const expected = [
        `caf${unread}`,
        `caf${unread}.txt`,
        'back\\slash',
        'bell\u0007',
        'half\u0085',
      ]
      assert.deepEqual(shown.toSorted(), expected.toSorted())
      for (const { because } of leftIn(gathered)) assert.equal(because, 'its name is no text')
    })

    test(
      `${name}: a long list of files with long names is one that the server reads`,
      { skip },
      () => {
        const work = mkdtempSync(path.join(base, 'work-'))
        const deep = [work, ...Array.from({ length: 11 }, () => '\u8cc7'.repeat(84))].join('/')
        mkdirSync(deep, { recursive: true })
        for (let n = 0; n < 300; n++) symlinkSync('/nowhere', `${deep}/${n}`)
        const read = readAsEnd(gather(work).leftOut)
        assert.ok(read && read.length > 5)
        const more = Number(/it is a link; (\d+) more are left out/.exec(read.at(-1)!.because)?.[1])
        assert.equal(read.length + more, 300)
      },
    )

    test(`${name}: two files of one long path are reported as such`, { skip }, () => {
      const work = mkdtempSync(path.join(base, 'work-'))
      const place = Array.from({ length: 4 }, () => 'long'.repeat(60)).join('/')
      for (const folder of [work, `${work}/out`]) {
        mkdirSync(`${folder}/${place}`, { recursive: true })
        writeFileSync(`${folder}/${place}/x`, 'x')
      }
      const gathered = gather(work)
      assert.deepEqual(gathered.given, [`${place}/x`])
      assert.match(readAsEnd(gathered.leftOut)![0]!.because, /^there is another .* already$/)
    })
  }

  test('Node: a name that is no text is reported by the exec that made it, and by no later one', () => {
    const work = mkdtempSync(path.join(base, 'work-'))
    const changed = (act: () => void) => {
      const known = standingFiles(work)
      act()
      return gatherChanged(work, 1024, () => undefined, known).length
    }
    const made = changed(() => {
      mkdirSync(path.join(work, 'out'))
      writeFileSync(latin1(path.join(work, 'out')), 'x')
      writeFileSync(latin1(work), 'x')
    })
    assert.equal(made, 2)
    assert.equal(
      changed(() => undefined),
      0,
    )
  })

  test('Node: links, pipes and files of tools below out/ are told by the exec that made them, and by no later one', () => {
    const work = mkdtempSync(path.join(base, 'work-'))
    const out = path.join(work, 'out')
    const told = (act: () => void) => {
      const known = standingFiles(work)
      act()
      const given: string[] = []
      const leftOut = gatherChanged(work, 1024, (place: string) => void given.push(place), known)
      return { given, leftOut: leftOut.map(({ path: place }) => place) }
    }
    const made = told(() => {
      mkdirSync(path.join(out, '.cache'), { recursive: true })
      writeFileSync(path.join(out, '.cache', 'kept'), 'x')
      symlinkSync('kept', path.join(out, 'link'))
      execFileSync('mkfifo', [path.join(out, 'pipe')])
    })
    assert.deepEqual(made, { given: ['.cache/kept'], leftOut: ['link', 'pipe'] })
    assert.deepEqual(
      told(() => undefined),
      { given: [], leftOut: [] },
    )
    const changed = told(() => {
      rmSync(path.join(out, 'link'))
      symlinkSync('elsewhere', path.join(out, 'link'))
    })
    assert.deepEqual(changed, { given: [], leftOut: ['link'] })
  })

  test('Node: files below out/ are recorded last, so that many of them leave room for the others', () => {
    const work = mkdtempSync(path.join(base, 'work-'))
    for (const folder of ['out/node_modules', 'a', 'src']) {
      mkdirSync(path.join(work, folder), { recursive: true })
      writeFileSync(path.join(work, folder, 'main.js'), 'x')
    }
    const known = Object.keys(standingFiles(work))
    assert.deepEqual(known.slice(0, 2).toSorted(), ['a/main.js', 'src/main.js'])
    assert.deepEqual(known.slice(2), ['out/node_modules/main.js'])
  })
})
