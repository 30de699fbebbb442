import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { fileURLToPath } from 'node:url'
import { drawn, suite, test } from '../fixtures/drawn.ts'
import type { HelpPage } from '../fixtures/help-pages.ts'
import { bin, makePlace, mayfly, noOrdinaryUser, type Place } from './program.ts'

/**
 * Every command of `mayfly --help`, run by root on a state folder of another user, who has planted links in it. A new command
 * fails the first test until it has its line here.
 */
const serverUid = 52_000
const otherUid = 12_345
const run = `exec_${'a'.repeat(32)}`

/** Words after those of the command; `@key` stands for a public key. */
const table: Readonly<Record<string, readonly string[]>> = {
  run: ['job.js', '--once'],
  serve: ['--stop'],
  analyze: ['job.js'],
  providers: [],
  doctor: ['isolated-vm'],
  setup: [],
  'audit list': [],
  'audit verify': [],
  'audit export': ['log.jsonl'],
  'evidence list': [],
  'evidence show': [run],
  'evidence verify': [run],
  'evidence search': [run, 'held'],
  'evidence extract': [run, 'found'],
  'evidence resume': [run, '--exec', 'true'],
  'keys generate': ['b.key'],
  'keys sign': ['job.js', '--key', 'a.key'],
  'keys verify': ['job.js', '--signature', 'job.js.sig'],
  'keys trust': ['@key', '--name', 'bob'],
  'keys revoke': ['@key'],
  'keys list': [],
  'access create': [],
  'access list': [],
  'access revoke': ['mfy_none'],
  'policy check': [],
  'policy explain': [],
  'policy trust': ['trusted.toml'],
  'policy simulate': [],
  'policy surface': [],
  'policy propose': ['--write', 'proposed.toml'],
  'policy learned': [],
  exec: ['--', 'true'],
  'sandbox create': [],
  'sandbox exec': ['id', 'job.js'],
  'sandbox put': ['id', 'job.js'],
  'sandbox get': ['id', 'path'],
  'sandbox files': ['id'],
  'sandbox renew': ['id', '--timeout', '1m'],
  'sandbox list': [],
  'sandbox show': ['id'],
  'sandbox tighten': ['id', '--cpu', '0.5'],
  'sandbox fork': ['id'],
  'sandbox freeze': ['id'],
  'sandbox thaw': ['id'],
  'sandbox resume': ['id'],
  'sandbox capture': ['id'],
  'sandbox kill': ['id'],
  'images build': ['none'],
  'images list': [],
  'images show': ['none'],
  'images verify': [],
  'images unpack': ['none'],
  'images tag': ['none', 'tag'],
  'images untag': ['tag'],
  'images gc': [],
  'images scan': [],
  'images feeds import': ['job.js'],
  'images feeds list': [],
  'images feeds remove': ['none'],
  'images import': ['job.js'],
  'images export': ['none', 'out.tar'],
  'mcp install': ['claude-code'],
  bench: ['--rounds', '0', '--state', '@state'],
  inspect: ['job.js', '--tier', 'process'],
  'state backup': ['kept.tar'],
  'state restore': ['none.tar'],
  'state check': [],
  completion: ['bash'],
}
const rows = Object.entries(table).map(([words, more]) => [...words.split(' '), ...more])
/** Commands that run a wall: their server gets the folder, or they are refused. */
const walled = new Set([
  'run',
  'analyze',
  'inspect',
  'providers',
  'doctor',
  'exec',
  'bench',
  'evidence resume',
])
const stores = rows.filter(([one, two]) => !walled.has(one!) && !walled.has(`${one} ${two}`))
const calls =
  'open,openat,openat2,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,link,linkat,symlink,symlinkat,connect'

test('The table has each command that help lists', () => {
  const pages = JSON.parse(
    execFileSync(
      process.execPath,
      [fileURLToPath(new URL('../fixtures/help-pages.ts', import.meta.url))],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    ),
  ) as readonly HelpPage[]
  const isBelow = (one: HelpPage, other: HelpPage) =>
    one.words.length < other.words.length && one.words.every((word, at) => other.words[at] === word)
  const leaves = pages.filter((one) => !pages.some((other) => isBelow(one, other)))
  assert.deepEqual(leaves.map(({ words }) => words.join(' ')).sort(), Object.keys(table).sort())
})

suite('As root, on the state folder of another user', { skip: noOrdinaryUser() }, () => {
  let place: Place
  let key: string
  let canary: string
  let kept: string
  before(async () => {
    place = makePlace()
    canary = join(place.state, '..', 'canary')
    kept = join(place.state, '..', 'kept')
    writeFileSync(join(place.cwd, 'job.js'), 'return 1')
    writeFileSync(join(place.cwd, 'trusted.toml'), '')
    const made = [
      ['run', 'job.js'],
      ['keys', 'generate', 'a.key'],
      ['keys', 'sign', 'job.js', '--key', 'a.key', '--out', 'job.js.sig'],
    ]
    for (const words of made) assert.equal((await mayfly(place, words)).code, 0, words.join(' '))
    key = readFileSync(join(place.cwd, 'a.key.pub'), 'utf8').trim()
    for (const words of [
      ['keys', 'trust', key, '--name', 'ann'],
      ['access', 'create'],
      ['policy', 'trust', 'trusted.toml'],
    ])
      assert.equal((await mayfly(place, words)).code, 0, words.join(' '))
    for (const name of ['attach', 'baselines.db', 'bodies.db', 'audit.journal'])
      if (!readdirSync(place.state).includes(name)) mkdirSync(join(place.state, name))
    execFileSync('chown', ['-R', '0:0', place.cwd])
    cpSync(place.state, kept, { recursive: true, filter: isNoSocket })
  })
  after(() => place.remove())

  /** Brings the folder back, as this user's. */
  function restore(uid: number): void {
    for (const name of readdirSync(place.state))
      rmSync(join(place.state, name), { recursive: true, force: true })
    cpSync(kept, place.state, { recursive: true })
    execFileSync('chown', ['-R', `${uid}:${uid}`, place.state])
    chmodSync(place.state, 0o700)
  }

  function plantLinks(uid: number): void {
    rmSync(canary, { recursive: true, force: true })
    cpSync(kept, canary, { recursive: true })
    execFileSync('chown', ['-R', '0:0', canary])
    execFileSync('chmod', ['-R', 'go=', canary])
    for (const name of readdirSync(place.state)) {
      const link = join(place.state, name)
      rmSync(link, { recursive: true })
      symlinkSync(join(canary, name), link)
      lchownSync(link, uid, uid)
    }
  }

  const stateOfCanary = () =>
    execFileSync('find', [canary, '-printf', '%p %m %U %s %T@ %C@\n'], { encoding: 'utf8' })

  interface Traced {
    readonly text: string
    /** Successful calls, with the paths of the descriptors. */
    readonly done: readonly string[]
  }

  function traced(words: readonly string[]): Traced {
    const file = join(place.state, '..', 'trace')
    const given: Record<string, string> = { '@key': key, '@state': place.state }
    const own = words.map((word) => given[word] ?? word)
    const trace = noStrace()
      ? []
      : [
          'strace',
          '-f',
          '--seccomp-bpf',
          '-y',
          '-qq',
          '-s',
          '300',
          '-o',
          file,
          '-e',
          `trace=${calls}`,
          '--',
        ]
    const [program, ...args] = [...trace, process.execPath, bin, ...own]
    const server = {
      MAYFLY_SERVER: 'http://127.0.0.1:65535',
      MAYFLY_API_KEY: `mfy_${'x'.repeat(40)}`,
    }
    const { stdout, stderr, error } = spawnSync(program!, args, {
      cwd: place.cwd,
      env: { ...place.env, ...(words[0] === 'sandbox' && server) },
      encoding: 'utf8',
      input: '',
      timeout: 120_000,
    })
    assert.equal(error, undefined, words.join(' '))
    const lines = trace.length > 0 ? readFileSync(file, 'utf8').split('\n') : []
    const done = lines.filter((line) => / = \d/.test(line))
    assert.ok(
      trace.length === 0 || done.some((line) => line.includes(`<${bin}>`)),
      'a blind strace',
    )
    return { text: stdout + stderr, done }
  }

  for (const uid of [serverUid, otherUid])
    test(`no command follows a link planted in place of an entry, or changes its target, uid ${uid}`, () => {
      for (const words of drawn(rows, `planted ${uid}`)) {
        restore(uid)
        plantLinks(uid)
        const before = stateOfCanary()
        const { text, done } = traced(words)
        const opened = done.filter((line) => line.includes(`<${canary}`))
        assert.deepEqual(opened, [], `${words.join(' ')}: ${text}`)
        assert.equal(stateOfCanary(), before, `${words.join(' ')}: ${text}`)
        chownSync(place.state, uid, uid)
      }
    })

  for (const uid of [serverUid, otherUid])
    test(
      `no command without a wall opens what its owner could not, uid ${uid}`,
      { skip: noStrace() },
      () => {
        const openedBy = ({ done }: Traced) =>
          done.filter((line) => line.includes(`<${place.state}/`))
        restore(uid)
        assert.notDeepEqual(openedBy(traced(['keys', 'list'])), [], 'of a folder that is open')
        for (const words of drawn(stores, `closed ${uid}`)) {
          restore(uid)
          chmodSync(place.state, 0)
          const ran = traced(words)
          assert.deepEqual(openedBy(ran), [], `${words.join(' ')}: ${ran.text}`)
        }
      },
    )

  test('a command with a wall refuses the folder of another user, and a link that another user made', () => {
    const victim = join(place.state, '..', 'victim')
    const link = join(place.cwd, 'link')
    mkdirSync(victim)
    writeFileSync(join(victim, 'file'), '')
    symlinkSync(victim, link)
    lchownSync(link, otherUid, otherUid)
    restore(otherUid)
    for (const words of drawn(
      rows.filter((row) => !stores.includes(row) && row[0] !== 'bench'),
      'walled',
    )) {
      for (const state of [place.state, link]) {
        const { text } = traced([words[0]!, '--state', state, ...words.slice(1)])
        assert.match(
          text,
          /Cannot use the state folder .* as root: it belongs to uid 12345/,
          words.join(' '),
        )
      }
      const owners = execFileSync('stat', ['-c', '%u', victim, join(victim, 'file'), place.state], {
        encoding: 'utf8',
      })
      assert.equal(owners, `0\n0\n${otherUid}\n`, words.join(' '))
    }
  })

  test('no command prints terminal sequences of a store, whether it reads the store or refuses it', () => {
    const hostile = '\u001b]0;owned\u0007\u009b31m\u202e'
    for (const words of drawn(rows, 'hostile')) {
      restore(serverUid)
      for (const name of ['keys.json', 'signers.json']) {
        const file = join(place.state, name)
        const own = readFileSync(file, 'utf8')
        const isWhole = words.length % 2 === 0
        writeFileSync(
          file,
          isWhole
            ? `${hostile}${own}`
            : own.replaceAll(/"(ann|default)"/g, JSON.stringify(hostile)),
        )
      }
      const record = JSON.stringify({ format: 1, name: hostile, kind: hostile, version: hostile })
      writeFileSync(join(place.state, 'attach', 'a.key'), record, { mode: 0o600 })
      mkdirSync(join(place.state, 'images'))
      writeFileSync(join(place.state, 'images', `${hostile.replaceAll('/', '')}.json`), hostile)
      execFileSync('chown', ['-R', `${serverUid}:${serverUid}`, place.state])
      const { text } = traced(words)
      assert.doesNotMatch(text, /[^\P{Cc}\n\t]|\p{Bidi_Control}/u, words.join(' '))
    }
  })
})

function isNoSocket(file: string): boolean {
  return spawnSync('test', ['-S', file]).status !== 0
}

function noStrace(): string | false {
  const { status } = spawnSync('strace', ['-o', '/dev/null', 'true'])
  return status === 0 ? false : 'strace is missing, or may not trace here'
}
