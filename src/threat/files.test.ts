import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jobRequest } from '../contract/job.ts'
import { fileUnitsMax, inspectedFiles, packageUnitsMax } from './files.ts'
import { inspect } from './inspect.ts'

type File = { readonly path: string; readonly content: string; readonly type?: 'link' | 'folder' }

/** Names of findings in a Node program with these files. */
function found(files: readonly File[], code = '1', packages = true): string[] {
  const brought = jobRequest.parse({ files }).files
  const inspected = inspectedFiles(brought, { packages })
  return inspect({ code, language: 'node', entry: 'program', files: inspected }).found.map(
    ({ name }) => name,
  )
}

const deep = '['.repeat(100_000)
const escape = 'this.constructor.constructor("return 1")()'
const long = `const text = "${'x'.repeat(packageUnitsMax)}"`

test('code nested too deeply is UNPARSED in the own source of a job, and UNREAD_DEPENDENCY in a package', () => {
  assert.deepEqual(found([{ path: 'lib/a.js', content: deep }]), ['UNPARSED'])
  for (const folder of ['node_modules/a', 'lib/node_modules/a', 'venv/site-packages/a'])
    assert.deepEqual(found([{ path: `${folder}/a.js`, content: deep }]), ['UNREAD_DEPENDENCY'])
})

test('a path that only resembles one of a package is the own source of a job', () => {
  for (const path of ['my_node_modules/a.js', 'node_modules.js', 'lib/node_modules.js'])
    assert.ok(!found([{ path, content: deep }]).includes('UNREAD_DEPENDENCY'), path)
})

test('more code than analysis reads is UNREAD_DEPENDENCY in packages, and does not hide the own source', () => {
  const files = [
    { path: 'node_modules/a/a.js', content: long },
    { path: 'node_modules/a/b.js', content: long },
    { path: 'z.js', content: escape },
  ]
  assert.deepEqual(found(files).toSorted(), ['UNREAD_DEPENDENCY', 'VM_ESCAPE'])
  const own = { path: 'own.js', content: `const text = "${'x'.repeat(fileUnitsMax)}"` }
  assert.deepEqual(found([own]), ['UNPARSED'])
})

test('declarations, data and files that are not text are not read as code', () => {
  const zeros = '\0'.repeat(2 ** 20)
  const files = [
    { path: 'zeros', content: zeros },
    { path: 'big.csv', content: 'a,b\n'.repeat(2_000_000) },
    { path: 'node_modules/a/index.d.ts', content: deep },
    { path: 'node_modules/a/data', content: deep },
  ]
  assert.deepEqual(found(files), [])
  const sent = inspectedFiles(jobRequest.parse({ files }).files, { packages: true })
  assert.ok(sent.every(({ content }) => content === ''))
})

test('data loaded as code counts as unread code', () => {
  const files = [{ path: 'payload', content: `/*\0*/${escape}` }]
  assert.deepEqual(found(files, 'require("./payload")').toSorted(), ['REQUIRE', 'UNPARSED'])
})

test('a link is read as the file it leads to', () => {
  const files = [
    { path: 'data.txt', content: escape },
    { path: 'lib/x.js', content: '../data.txt', type: 'link' },
    { path: 'loop.js', content: 'loop.js', type: 'link' },
    { path: 'empty', content: '', type: 'folder' },
  ] as const
  assert.deepEqual(found(files), ['VM_ESCAPE'])
})

test('an apparent realm escape counts less in a package than in the own source', () => {
  assert.deepEqual(found([{ path: 'node_modules/a/a.js', content: escape }]), ['UNREAD_DEPENDENCY'])
  assert.deepEqual(found([{ path: 'a.js', content: escape }]), ['VM_ESCAPE'])
})

test('an apparent realm escape counts in full in a package of an isolate', () => {
  const files = [{ path: 'node_modules/a.js', content: escape }]
  for (const language of ['js', 'ts'] as const) {
    const { found } = inspect({
      code: "import './node_modules/a.js'",
      language,
      entry: 'auto',
      files,
    })
    assert.deepEqual(
      found.map(({ name }) => name),
      ['IMPORT', 'VM_ESCAPE'],
    )
  }
})

test('a file named from the root of a job or by URL is followed from any folder', () => {
  const files = [{ path: 'evil.txt', content: escape }]
  const names = ['/evil.txt', 'file:///evil.txt', 'file:///lib/../evil.txt', '../evil.txt']
  for (const name of names) {
    const asked = {
      code: `import ${JSON.stringify(name)}`,
      name: 'lib/a.js',
      entry: 'auto',
    } as const
    const { found } = inspect({ ...asked, language: 'js', files })
    assert.deepEqual(
      found.map(({ name }) => name),
      ['IMPORT', 'VM_ESCAPE'],
      name,
    )
  }
})

test('a link that leaves the working directory is no file of a job', () => {
  for (const [path, content] of [
    ['a', '/etc'],
    ['a', '..'],
    ['a/b', '../../c'],
    ['a', 'b/../../c'],
    ['a', ''],
    ['a', 'b\0'],
  ])
    assert.equal(jobRequest.safeParse({ files: [{ path, content, type: 'link' }] }).success, false)
  assert.ok(
    jobRequest.safeParse({ files: [{ path: 'a/b', content: '../c', type: 'link' }] }).success,
  )
})
