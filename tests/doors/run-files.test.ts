import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after } from 'node:test'
import { jobFiles } from '../../src/cli/job-files.ts'
import { test } from '../fixtures/drawn.ts'
import { hasNoWall } from '../walls/process-stands.ts'
import { documentOf, makePlace, mayfly } from './program.ts'

/** Files copied by `--file FOLDER`. */
const place = makePlace()
after(() => place.remove())

function write(name: string, text: string): void {
  mkdirSync(dirname(join(place.cwd, name)), { recursive: true })
  writeFileSync(join(place.cwd, name), text)
}

for (const [name, text] of Object.entries({
  'all/lib/tool.sh': 'echo tool',
  'all/plain.txt': 'plain',
  'all/.env': 'TOKEN=1',
  'all/.env.local': 'TOKEN=2',
  'all/.git/config': 'git',
  'all/keys/server.pem': 'pem',
  'all/.ssh/id_rsa': 'rsa',
  'all/.npmrc': 'token',
}))
  write(name, text)
chmodSync(join(place.cwd, 'all/lib/tool.sh'), 0o755)
mkdirSync(join(place.cwd, 'all/empty'))
symlinkSync('lib/tool.sh', join(place.cwd, 'all/lnk'))
symlinkSync('../lib', join(place.cwd, 'all/keys/lib'))
symlinkSync('/etc/passwd', join(place.cwd, 'all/leaves'))
symlinkSync('../../up', join(place.cwd, 'all/up'))
const list = `cd all && find . | LC_ALL=C sort | tr '\\n' ' ' && readlink lnk && test -x lib/tool.sh && sh ./lnk`
write('list.sh', list)
const python = `import os
os.chdir('all')
names = sorted(os.path.join(at, name) for at, folders, files in os.walk('.') for name in folders + files)
result = [names, os.readlink('lnk'), os.access('lib/tool.sh', os.X_OK), open('lnk').read()]`
write('list.py', python)

test('A file and a host that the job lacks are named with the flag that gives them', async (t) => {
  write('sales.csv', 'a,b')
  write('sales.py', "print(open('sales.csv').read())")
  const { stderr, code } = await mayfly(place, ['run', 'sales.py'])
  const status = code === 7 ? 'unavailable' : 'ok'
  if (hasNoWall(t, { status, error: { message: stderr } }, { program: 'python' })) return
  assert.match(stderr, /^The job has no files but those that it brings: --file sales\.csv$/m)
  const brought = await mayfly(place, ['run', 'sales.py', '--file', 'sales.csv'])
  assert.deepEqual([brought.stdout, brought.code], ['a,b\n', 0])
  write('fetch.sh', 'echo "curl: (6) Could not resolve host: example.com" >&2; exit 6')
  const far = await mayfly(place, ['run', 'fetch.sh'])
  assert.match(far.stderr, /: the job has no network \(--allow HOST permits a host\)/)
})

test('A folder keeps its links, empty folders and executable bits, and secrets are omitted', async (t) => {
  const ran = await mayfly(place, ['run', 'list.sh', '--file', 'all', '--json'])
  const outcome = documentOf(ran)
  if (hasNoWall(t, outcome)) return
  assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error) + outcome.stderr)
  const [names = '', ...rest] = outcome.stdout.trimEnd().split(' lib/tool.sh\n')
  assert.deepEqual(names.split(' '), [
    '.',
    './empty',
    './keys',
    './keys/lib',
    './lib',
    './lib/tool.sh',
    './lnk',
    './plain.txt',
  ])
  assert.deepEqual(rest, ['tool'])
  assert.match(ran.stderr, /left out "all\/\.env", .*--file-secrets brings them/)
  assert.match(ran.stderr, /left out "all\/leaves", "all\/up": neither/)
})

test('A path of --file may contain equals signs, also beside a new name', async () => {
  const at = join(place.cwd, 'data/year=2024')
  write('data/year=2024/part.csv', 'a,b')
  write('rows.csv', 'c,d')
  const shown = async (given: string) =>
    (await jobFiles(given)).map(({ path, content }) => [path, content])
  assert.deepEqual(await shown(join(at, 'part.csv')), [['part.csv', 'a,b']])
  assert.deepEqual(await shown(`${at}/part.csv=new.csv`), [['new.csv', 'a,b']])
  assert.deepEqual(await shown(`${at}=all`), [['all/part.csv', 'a,b']])
  assert.deepEqual(await shown(`${join(place.cwd, 'rows.csv')}=by=day.csv`), [
    ['by=day.csv', 'c,d'],
  ])
  await assert.rejects(
    jobFiles(`${place.cwd}/none=a`),
    /Cannot include ".*\/none": there is no such/,
  )
})

test('Python finds the same files', async (t) => {
  const ran = await mayfly(place, ['run', 'list.py', '--file', 'all', '--json'])
  const outcome = documentOf(ran)
  if (hasNoWall(t, outcome, { program: 'python' })) return
  const { status, result, error } = outcome
  assert.equal(status, 'ok', JSON.stringify(error))
  assert.deepEqual(result.slice(1), ['lib/tool.sh', true, 'echo tool'])
  assert.ok(result[0].includes('./empty') && !result[0].includes('./.env'))
})

test('Secrets are copied with --file-secrets, and a file named on its own is always copied', async () => {
  write('ask.sh', 'cat all/.env; ls -A all/.git')
  const all = documentOf(
    await mayfly(place, ['run', 'ask.sh', '--file', 'all', '--file-secrets', '--json']),
  )
  if (all.status !== 'unavailable') assert.match(all.stdout, /TOKEN=1config/)
  const one = documentOf(await mayfly(place, ['run', 'ask.sh', '--file', 'all/.env', '--json']))
  if (one.status !== 'unavailable') assert.match(one.stdout, /^TOKEN=1/)
})

test('A folder with too many files is refused with a hint', async () => {
  mkdirSync(join(place.cwd, 'many'))
  for (let n = 0; n < 2_001; n++) writeFileSync(join(place.cwd, `many/${n}`), '')
  const ran = await mayfly(place, ['run', 'list.sh', '--file', 'many'])
  assert.equal(ran.code, 2)
  assert.match(ran.stderr, /Cannot include "many": it contains more than 2000 files/)
  assert.match(ran.stderr, /--packages/)
})
