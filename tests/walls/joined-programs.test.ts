import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, suite, test } from 'node:test'
import { joinPrograms } from '../../src/jail/join.js'
import { joinedProgram } from '../../src/jail/joined.ts'
import { ownBinding } from '../../src/jail/whole.ts'
import { nodeProgram, pythonProgram } from '../../src/jail/whole-guests.ts'
import { isolateWorker } from '../../src/tiers/isolated-vm/launch.ts'

const base = mkdtempSync(join(tmpdir(), 'mayfly-joined-'))
after(() => rmSync(base, { recursive: true, force: true }))
const root = join(import.meta.dirname, '../..')
const runner = `
import fs, { readFileSync } from 'node:fs'
import { ofOther } from '../other.js'
fs.readFileSync = () => 'replaced'
const own = readFileSync(import.meta.filename, 'utf8').length > 0
console.log(JSON.stringify([own, fs.readFileSync(), ofOther, await import('node:os').then(({ EOL }) => EOL)]))`

function tree(name: string, files: Readonly<Record<string, string>>): string {
  const own = join(base, name)
  const ofRunner = ['forward.js', 'node.js', 'kernel-node.js', 'kernel-interrupter.js']
  const ofProcess = ofRunner.map((program) => `process/${program}`)
  const programs = ['analyst.js', 'isolate-worker.js', 'wasm-worker.js', ...ofProcess]
  const empty = Object.fromEntries(programs.map((program) => [program, '']))
  for (const [place, text] of Object.entries({ ...empty, 'realm/a.js': '', ...files })) {
    const file = join(own, 'guest', place)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
  return own
}

suite('Joined programs', () => {
  test('Names of built-ins are read once at load, and unused ones never', async () => {
    const from = tree('plain', {
      'process/node.js': runner,
      'other.js': 'export const ofOther = 1',
    })
    const into = join(base, 'plain-joined')
    await joinPrograms(from, into, true)
    const file = join(into, 'guest/process/node.js')
    const told = execFileSync(process.execPath, [file], { encoding: 'utf8' })
    assert.deepEqual(JSON.parse(told), [true, 'replaced', 1, '\n'])
    assert.doesNotMatch(readFileSync(file, 'utf8'), /\.promises|\.writeFileSync/)
    assert.ok(existsSync(join(into, 'guest/realm/a.js')))
  })

  test('A module that does not parse rejects', async () => {
    const from = tree('broken', { 'analyst.js': 'import {' })
    await assert.rejects(joinPrograms(from, join(base, 'broken-joined'), true), /analyst\.js/)
  })

  test('A wall gets the joined file in place of the sources, and native modules stay separate', async () => {
    const into = join(base, 'own')
    await joinPrograms(root, into, false)
    const node = joinedProgram(nodeProgram({ scratchBytes: 1 }), into)
    assert.equal(node.main, join(into, 'guest/process/node.js'))
    const places = node.whole!.places.map(({ at }) => at)
    assert.ok(places.includes('/opt/mayfly/guest') && !places.includes('/opt/mayfly/src/os'))
    assert.ok(existsSync(join(into, 'guest/process/forward.js')), 'a sentry starts the forwarder')
    assert.ok(places.some((at) => at.endsWith('oxc-transform')))
    const worker = joinedProgram(isolateWorker({ spares: 1, spareMiB: 32 }, []), into)
    assert.equal(worker.main, join(into, 'guest/isolate-worker.js'))
    assert.ok(worker.tree.includes(into) && !worker.tree.includes(join(root, 'guest')))
    assert.ok(worker.tree.some((place) => place.endsWith('/isolated-vm')))
    const text = readFileSync(worker.main, 'utf8')
    assert.doesNotMatch(text, /from "isolated-vm"/)
  })

  test('A wall is told the path of the binding of isolated-vm, and neither its worker nor its runner looks for it', async () => {
    const into = join(base, 'told')
    await joinPrograms(root, into, false)
    for (const program of ['isolate-worker.js', 'process/node.js']) {
      const text = readFileSync(join(into, 'guest', program), 'utf8')
      assert.match(text, /\(\w+\.binding\)/)
      assert.doesNotMatch(text, /isolated-vm\.node|prebuilds|node-gyp-build/)
    }
    const worker = isolateWorker({ spares: 1, spareMiB: 32 }, [])
    const { binding } = JSON.parse(worker.env['MAYFLY_WORKER']!)
    assert.ok(existsSync(binding) && worker.tree.some((place) => binding.startsWith(place)))
    const { places } = nodeProgram({ scratchBytes: 1 }).whole!
    assert.deepEqual(places.find(({ at }) => at === ownBinding)?.from, binding)
  })

  test('A program without a joined file runs from its sources', () => {
    const [node, python] = [nodeProgram({ scratchBytes: 1 }), pythonProgram({ scratchBytes: 1 })]
    assert.equal(joinedProgram(node, undefined), node)
    assert.equal(joinedProgram(node, join(base, 'nowhere')), node)
    assert.equal(joinedProgram(python, join(base, 'nowhere')), python)
  })
})
