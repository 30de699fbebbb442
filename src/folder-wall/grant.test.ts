import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gitSurroundings } from './git.ts'
import { folderGrant, type FolderRequest, type FolderSituation } from './grant.ts'
import { noRules, type FolderRules } from './settings.ts'

const home = realpathSync(mkdtempSync(join(tmpdir(), 'mayfly-grant-')))
after(() => rmSync(home, { recursive: true }))
const at = (name: string) => join(home, name)
for (const name of ['work/project/src', 'work/data/open', '.ssh', '.nvm/bin', 'state', 'other'])
  mkdirSync(at(name), { recursive: true })
writeFileSync(at('work/project/.env'), '')
symlinkSync('../../.ssh', at('work/project/keys'))

const situation: FolderSituation = {
  folder: at('work/project'),
  home,
  environment: { PATH: `${at('.nvm/bin')}:/usr/bin`, DEPLOY_TOKEN: 'x', LANG: 'C' },
  state: [at('state')],
  programs: [],
}
const none: FolderRequest = { write: [], read: [], deny: [], env: [] }
const grantOf = (asked: Partial<FolderRequest>, of: Partial<FolderSituation> = {}) =>
  folderGrant({ ...none, ...asked }, { ...situation, ...of })
const withRules = (rules: Partial<FolderRules>) => grantOf({ rules: { ...noRules, ...rules } })
const bindsOf = ({ grant }: ReturnType<typeof grantOf>) =>
  grant.binds.map(({ path, isWritable }) => `${isWritable ? 'w' : 'r'} ${path.slice(home.length)}`)

test('A command has its folder, and folders of HOME only if they are named', () => {
  assert.deepEqual(bindsOf(grantOf({})), ['r /.nvm', 'w /work/project'])
  const more = grantOf({ write: ['src', '../data/open'], read: ['~/work/data', '.env'] })
  assert.deepEqual(bindsOf(more), [
    'r /.nvm',
    'r /work/data',
    'w /work/project',
    'w /work/data/open',
  ])
  assert.deepEqual(more.grant.lifted, [at('work/data'), at('work/project/.env')])
})

test('No flag opens the state, keys, HOME, the system, or a missing path', () => {
  const refused: readonly Partial<FolderRequest>[] = [
    { read: ['keys'] },
    { write: ['~'] },
    { read: [at('state')] },
    { write: ['/etc'] },
    { read: ['/'] },
    { read: ['/proc/1'] },
    { read: ['missing'] },
    { deny: ['.'] },
    { env: ['A-B=1'] },
  ]
  for (const asked of refused)
    assert.throws(() => grantOf(asked), { code: 'USAGE' }, JSON.stringify(asked))
  for (const folder of ['/', home, '/usr/lib', at('.ssh'), at('state')])
    assert.throws(() => grantOf({}, { folder }), { code: 'USAGE' }, folder)
})

test('Paths that do not exist are closed where they would be created', () => {
  const { closed } = grantOf({ deny: ['later/file'] }).grant
  const path = at('work/project/later/file')
  assert.ok(closed.some((one) => one.path === path && one.to === 'all'))
})

test('A variable is left out by its name, and passed on or set by --env', () => {
  const { grant, notes } = grantOf({})
  assert.equal(grant.variables['LANG'], 'C')
  assert.equal(grant.variables['DEPLOY_TOKEN'], undefined)
  assert.match(notes[0] ?? '', /DEPLOY_TOKEN/)
  const given = grantOf({ env: ['DEPLOY_TOKEN', 'LANG=de', 'HUSKY=1'] }).grant
  const { DEPLOY_TOKEN, LANG, HUSKY } = given.variables
  assert.deepEqual([DEPLOY_TOKEN, LANG, HUSKY], ['x', 'de', '1'])
  assert.deepEqual(given.given, ['DEPLOY_TOKEN', 'LANG', 'HUSKY'])
})

test('A variable is left out if its whole name is that of a secret, or names one without an underscore', () => {
  const secrets = [
    'TOKEN',
    'PASSWORD',
    'PGPASSWORD',
    'SECRET_KEY',
    'API_KEY',
    'SSHPASS',
    'MYSQL_PWD',
  ]
  const more = [
    'GITHUB_PAT',
    'GPG_PASSPHRASE',
    'SMTP_PASS',
    'npm_config__auth',
    'NPM_CONFIG__AUTHTOKEN',
  ]
  const others = [
    'PATH',
    'COMPASS',
    'TOKENS',
    'KEYMAP',
    'SECRETARY',
    'npm_config_cache',
    'PWD',
    'OLDPWD',
  ]
  const names = [...secrets, ...more, ...others]
  const { grant, notes } = grantOf(
    {},
    { environment: Object.fromEntries(names.map((name) => [name, '/x'])) },
  )
  for (const name of [...secrets, ...more]) {
    assert.equal(grant.variables[name], undefined, name)
    assert.match(notes[0] ?? '', new RegExp(`\\b${name}\\b`))
  }
  for (const name of others) assert.ok(grant.variables[name], name)
})

test('A temporary folder that is missing or that the wall does not show is replaced by its /tmp', () => {
  const temporary = (TMPDIR: string, env: readonly string[] = []) =>
    grantOf({ env }, { environment: { TMPDIR } }).grant.variables['TMPDIR']
  assert.equal(temporary(at('other')), '/tmp')
  assert.equal(temporary('/tmp/claude/1000'), '/tmp')
  assert.equal(temporary('/etc'), '/tmp')
  assert.equal(temporary(''), '')
  assert.equal(temporary(at('work/project/src/later')), '/tmp')
  for (const shown of ['/var/tmp', home, at('work/project/src')])
    assert.equal(temporary(shown), shown)
  assert.equal(temporary('/x', ['TMPDIR=/y']), '/y')
})

test('npm makes no call to the registry of its own, unless the caller asks', () => {
  const { variables } = grantOf({}).grant
  assert.equal(variables['npm_config_update_notifier'], 'false')
  const name = 'npm_config_update_notifier'
  const asked = grantOf({}, { environment: { [name]: 'true' } }).grant.variables
  assert.equal(asked[name], 'true')
})

test('Settings that do not name the folder for writing leave it read-only', () => {
  assert.deepEqual(bindsOf(withRules({})), ['r /.nvm', 'r /work/project'])
  assert.deepEqual(bindsOf(withRules({ write: ['src', 'missing'] })), [
    'r /.nvm',
    'r /work/project',
    'w /work/project/src',
  ])
  assert.deepEqual(bindsOf(withRules({ write: ['..'] })), ['w /work', 'r /.nvm'])
})

test('Paths that settings hide are hidden, except those that the settings show again', () => {
  const opened = withRules({ hidden: ['~'], read: ['.', '~/work/data/open'], write: ['src'] })
  assert.deepEqual(bindsOf(opened), ['r /work/project', 'r /work/data/open', 'w /work/project/src'])
  assert.ok(opened.grant.closed.every(({ path }) => path !== home))
  const inside = withRules({ hidden: ['src', '.env'], read: ['src/open', '.env'], write: ['.'] })
  const closed = inside.grant.closed.map(({ path }) => path)
  assert.ok(closed.includes(at('work/project/src')) && !closed.includes(at('work/project/.env')))
  assert.match(inside.notes[0] ?? '', /src\/open" stays closed/)
  for (const hidden of ['~', '/', '.'])
    assert.throws(() => withRules({ hidden: [hidden], write: ['src'] }), { code: 'USAGE' }, hidden)
})

test('Attack: a setting of git with a line separator of Unicode protects its paths like any other', () => {
  const folder = at('other')
  mkdirSync(join(folder, '.git'))
  writeFileSync(join(folder, 'x\u2028y'), '')
  writeFileSync(
    join(folder, '.git/config'),
    '[core]\n\thooksPath = ho\u2028oks\n[filter "a\u2028b"]\n\tclean = ./x\u2028y\n[includeIf "a\u2028b"]\n\tpath = ../more;\u2028\n',
  )
  const { closed } = gitSurroundings({ folder, home })
  for (const name of ['ho\u2028oks', 'x\u2028y', 'more'])
    assert.ok(
      closed.some(({ path, to }) => path === join(folder, name) && to === 'write'),
      JSON.stringify([name, closed]),
    )
})
