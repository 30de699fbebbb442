import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gatherArtifacts, knowMade, knownFiles, makeOut } from '../../guest/process/artifacts.js'
import { findProgram } from '../../src/os/find-program.ts'

/** Longer than the time within which two changes may have equal timestamps. */
const SETTLED_MS = 150
const base = mkdtempSync(path.join(tmpdir(), 'mayfly-empty-out-'))
after(() => rmSync(base, { recursive: true, force: true }))

/** Changes of a job to its working folder, and the artifacts that it then has. */
const jobs: readonly {
  readonly name: string
  readonly act: (work: string) => void
  readonly gives: readonly string[]
}[] = [
  { name: 'nothing', act: () => undefined, gives: [] },
  {
    name: 'a file in out/',
    act: (work) => writeFileSync(path.join(work, 'out/a'), 'a'),
    gives: ['a'],
  },
  {
    name: 'a file in a folder of out/',
    act(work) {
      mkdirSync(path.join(work, 'out/b'))
      writeFileSync(path.join(work, 'out/b/c'), 'c')
    },
    gives: ['b/c'],
  },
  {
    name: 'another out/ in its place',
    act(work) {
      mkdirSync(path.join(work, 'new'))
      writeFileSync(path.join(work, 'new/a'), 'a')
      rmSync(path.join(work, 'out'), { recursive: true })
      renameSync(path.join(work, 'new'), path.join(work, 'out'))
    },
    gives: ['a'],
  },
  {
    name: 'a link in place of out/, which is not followed',
    act(work) {
      rmSync(path.join(work, 'out'), { recursive: true })
      symlinkSync('/etc', path.join(work, 'out'))
    },
    gives: [],
  },
  {
    name: 'files beside out/',
    act: (work) => writeFileSync(path.join(work, 'a'), 'a'),
    gives: ['a'],
  },
  {
    name: 'a file in a folder beside out/',
    act(work) {
      mkdirSync(path.join(work, 'b'))
      writeFileSync(path.join(work, 'b/c'), 'c')
    },
    gives: ['b/c'],
  },
  {
    name: 'its main file, rewritten',
    act: (work) => writeFileSync(path.join(work, 'job.js'), 'other'),
    gives: ['job.js'],
  },
  {
    name: 'another file in place of its main file',
    act(work) {
      writeFileSync(path.join(work, 'new'), 'new')
      renameSync(path.join(work, 'new'), path.join(work, 'job.js'))
    },
    gives: ['job.js'],
  },
  {
    name: 'no main file, and another',
    act(work) {
      rmSync(path.join(work, 'job.js'))
      writeFileSync(path.join(work, 'a'), 'a')
    },
    gives: ['a'],
  },
]

async function inNode(work: string, settledMs: number, act: (work: string) => void) {
  makeOut(work)
  await sleep(settledMs)
  writeFileSync(path.join(work, 'job.js'), '')
  const known = knownFiles(work, [], ['job.js'])
  act(work)
  const given: string[] = []
  gatherArtifacts(work, 1024, (place: string) => void given.push(place), known)
  return given
}

/** The same with the main file made ahead, and written at the release. */
async function inNodeMadeAhead(work: string, settledMs: number, act: (work: string) => void) {
  makeOut(work)
  writeFileSync(path.join(work, 'job.js'), '')
  knowMade(work)
  await sleep(settledMs)
  writeFileSync(path.join(work, 'job.js'), 'code')
  const known = knownFiles(work, [], ['job.js'])
  act(work)
  const given: string[] = []
  gatherArtifacts(work, 1024, (place: string) => void given.push(place), known)
  return given
}

const gatherers = {
  Node: inNode,
  'Node with its main file made ahead': inNodeMadeAhead,
  Python: inPython,
  'Python with its main file made ahead': (...given: Parameters<typeof inNode>) =>
    inPython(...given, 'ahead'),
}

/** Paths of artifacts as Python's runner gathers them: argument 1 is the folder, 2 the seconds until the release. */
const PYTHON = `
import os, sys, time
sys.path.insert(0, ${JSON.stringify(path.join(import.meta.dirname, '../../guest/process'))})
sys.dont_write_bytecode = True
import mayfly_artifacts
work = sys.argv[1]
mayfly_artifacts.make_out(work)
if sys.argv[3] == "ahead":
    open(work + "/job.js", "w").close()
    mayfly_artifacts.know_made(work)
time.sleep(float(sys.argv[2]))
with open(work + "/job.js", "w") as main:
    main.write("code")
given = []
brought = {"job.js": (mayfly_artifacts.facts_of(work + "/job.js"), None)}
gathering = mayfly_artifacts.Gathering(work, 1024, lambda path, data: given.append(path), brought)
print("released", flush=True)
sys.stdin.readline()
gathering.gather()
print("\\n".join(given))`

async function inPython(
  work: string,
  settledMs: number,
  act: (work: string) => void,
  main: 'late' | 'ahead' = 'late',
) {
  const args = ['-I', '-S', '-c', PYTHON, work, `${settledMs / 1000}`, main]
  const child = spawn('python3', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines: string[] = []
  let isReleased = false
  for await (const chunk of child.stdout) {
    lines.push(...String(chunk).split('\n').filter(Boolean))
    if (isReleased || lines[0] !== 'released') continue
    isReleased = true
    act(work)
    child.stdin.end('\n')
  }
  return lines.slice(1)
}

const hasPython = findProgram('python3') !== undefined

suite('Artifacts of a wall whose out/ was made before its job', () => {
  for (const [language, gather] of Object.entries(gatherers))
    for (const settledMs of [0, SETTLED_MS])
      for (const { name, act, gives } of jobs)
        test(
          `${language}: ${name}, released ${settledMs} ms later`,
          { skip: language.startsWith('Python') && !hasPython && 'python3 is missing' },
          async () => {
            const work = mkdtempSync(path.join(base, 'work-'))
            assert.deepEqual(await gather(work, settledMs, act), gives)
          },
        )

  test('Node: files from before are none of the job', async () => {
    const work = mkdtempSync(path.join(base, 'work-'))
    writeFileSync(path.join(work, 'before'), 'before')
    assert.deepEqual(await inNode(work, SETTLED_MS, () => undefined), [])
  })
})
