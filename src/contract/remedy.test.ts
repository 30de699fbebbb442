import assert from 'node:assert/strict'
import test from 'node:test'
import { ofSession, remediesIn, remedyText, reworded, wordedFor, type Remedy } from './remedy.ts'

const more: Remedy = { field: 'limits.memory', value: 256 * 2 ** 20 }
const error = {
  code: 'MEMORY',
  message: `The job used more memory than 128 MB (${remedyText(more)} raises it)`,
  details: { remedies: [more] },
}
const told = (entry: Parameters<typeof reworded>[0], of = error) => reworded(entry, of).message

test('A remedy has the words of its entry point, and those of HTTP where no entry point replaces them', () => {
  const before = 'The job used more memory than 128 MB'
  assert.equal(told('api'), `${before} ("limits.memory" raises it)`)
  assert.equal(told('run'), `${before} (--memory 256MB raises it)`)
  assert.equal(told('inspect'), `${before} ("mayfly run --memory 256MB" raises it)`)
  assert.equal(told('sandbox'), `${before} ("mayfly sandbox create --memory 256MB" raises it)`)
  assert.equal(told('run_code'), `${before} (limits {"memory": "256MB"} raises it)`)
  assert.equal(
    told('page'),
    `${before} ("limits.memory" in the operator's configuration raises it)`,
  )
})

test('A limit of a session is raised by a new session, and one of an exec by the exec', () => {
  const exec = ofSession(error, ['timeout']) as typeof error
  assert.match(told('api', exec), /\("limits.memory" of a new session raises it\)/)
  assert.match(told('sandbox', exec), /\("mayfly sandbox create --memory 256MB" raises it\)/)
  assert.match(
    told('run_session', exec),
    /\("limits.memory" in the operator's configuration raises/,
  )
  assert.deepEqual(ofSession(error, ['memory']), error)
})

test('A network is granted by the caller of HTTP and of run, and by the operator of MCP and of a page', () => {
  const host: Remedy = { field: 'network', value: 'api.example.com' }
  assert.equal(remedyText(host), '"network": {"allow": ["api.example.com"]}')
  assert.equal(wordedFor('run', host), '--allow api.example.com')
  for (const entry of ['run_code', 'run_session', 'page'] as const)
    assert.equal(wordedFor(entry, host), '"network" in the operator\'s configuration')
})

test('A remedy of another server is dropped unless its field is known and its value is a plain word or number', () => {
  const forged = [
    { field: 'network', value: 'a; rm -rf ~' },
    { field: 'constructor' },
    { field: 'language', value: { toString: 'x' } },
    null,
  ]
  assert.deepEqual(remediesIn({ remedies: [...forged, more] }), [more])
  assert.deepEqual(remediesIn({ remedies: 'all' }), [])
})

test('A name that a program chose is not taken for the remedy behind it', () => {
  const message = 'Cannot import "files" from "a.js": bring it with "files"'
  const asked = { ...error, message, details: { remedies: [{ field: 'files' }] } }
  const own = reworded('run', asked).message
  assert.equal(own, 'Cannot import "files" from "a.js": bring it with --file PATH')
})
