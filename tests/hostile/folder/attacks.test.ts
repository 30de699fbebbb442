import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as setTimeoutOf } from 'node:timers/promises'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openCProgram } from '../../../src/jail/c-program.ts'
import { bin, mayfly, makePlace, type Ran } from '../../doors/program.ts'
import { attacks } from './attack-list.ts'
import {
  closedNames,
  makeHome,
  makeProgram,
  makeProject,
  noFolderWall,
  openTargets,
  protectedState,
  secret,
} from './project.ts'

suite('A command in a folder', { skip: noFolderWall, timeout: 300_000 }, () => {
  const place = makePlace()
  let targets: Awaited<ReturnType<typeof openTargets>> | undefined
  let before_ = ''
  let ran: Ran
  let results: Readonly<Record<string, string>> = {}
  after(() => {
    targets?.close()
    place.remove()
  })

  before(async () => {
    makeProject(place.cwd)
    makeHome(place.env['HOME']!)
    await makeProgram('attacks', join(place.cwd, 'attacks'))
    targets = await openTargets(place.cwd, place.state)
    before_ = protectedState(place.cwd)
    const given = Object.entries(targets.variables).map((pair) => pair.join('='))
    const flags = ['--env', ...given, '--deny', ...closedNames, '--timeout', '200s']
    ran = await exec([...flags, '--', './attacks', ...Object.keys(attacks)])
    results = Object.fromEntries(
      ran.stdout.split('\n').map((line) => line.split(' ') as [string, string]),
    )
  })

  const exec = (words: readonly string[], cwd = place.cwd) =>
    mayfly({ ...place, cwd }, ['exec', ...words])

  const isThere = async (name: string) => {
    for (let i = 0; i < 300 && !existsSync(join(place.cwd, name)); i++) await setTimeoutOf(100)
  }

  for (const [name, what] of Object.entries(attacks))
    test(`S4-9: prevents an attack that ${what}`, () =>
      assert.equal(results[name], '0', ran.stderr))

  test('S4-9: leaves every protected file unchanged after all of these attacks', () => {
    const untried = Object.keys(attacks).filter((name) => !(name in results))
    assert.deepEqual(untried, [], ran.stderr)
    assert.equal(protectedState(place.cwd), before_)
    assert.doesNotMatch(ran.stdout + ran.stderr, new RegExp(secret))
  })

  test('S4-9: permits git to write its own folder except hooks and configuration', async () => {
    assert.match((await exec(['--', './attacks', 'git_goes_on'])).stdout, /git_goes_on 0/)
  })

  test('S4-9: permits a lock of git’s configuration that the command itself makes', async () => {
    assert.match((await exec(['--', './attacks', 'own_locks'])).stdout, /own_locks 0/)
  })

  test('S4-9: permits Mercurial and Jujutsu to write their own folders except settings', async () => {
    assert.match((await exec(['--', './attacks', 'others_go_on'])).stdout, /others_go_on 0/)
  })

  test('S4-9: prevents attacks of two cooperating walls in one folder', async () => {
    const before = protectedState(place.cwd)
    const both = await Promise.all([1, 2].map(() => exec(['--', './attacks', 'two_walls'])))
    assert.deepEqual(
      both.map(({ code }) => code),
      [0, 0],
    )
    for (const { stdout } of both) assert.match(stdout, /two_walls 0/)
    assert.equal(protectedState(place.cwd), before)
  })

  test('S4-9: prevents a write to a repository that another wall swaps for an empty folder', async () => {
    const before = protectedState(place.cwd)
    const both = await Promise.all([1, 2].map(() => exec(['--', './attacks', 'two_walls_swap'])))
    for (const { stdout } of both) assert.match(stdout, /two_walls_swap 0/)
    assert.equal(protectedState(place.cwd), before)
  })

  test('S4-9: permits reading one secret by its path, and no other that a rename gives this path', async () => {
    for (const [name, text] of [
      ['lifted', 'public'],
      ['other', secret],
    ] as const) {
      mkdirSync(join(place.cwd, name))
      writeFileSync(join(place.cwd, name, 'server.pem'), `${text}\n`)
    }
    const flags = ['--read', 'lifted/server.pem']
    const { stdout, stderr } = await exec([...flags, '--', './attacks', 'lifted_by_move'])
    assert.match(stdout, /lifted_by_move 0/, stderr)
  })

  test('S4-9: keeps a secret closed while another wall renames another folder to the path that --read names', async () => {
    for (const [name, text] of [
      ['lifted', 'public'],
      ['instead', secret],
    ] as const) {
      rmSync(join(place.cwd, name), { recursive: true, force: true })
      mkdirSync(join(place.cwd, name))
      writeFileSync(join(place.cwd, name, 'server.pem'), `${text}\n`)
    }
    const flags = ['--read', 'lifted/server.pem']
    const reading = exec([...flags, '--', './attacks', 'lifted_by_other_wall'])
    await isThere('waits')
    const swap = 'mv lifted lifted-before && mv instead lifted && touch swapped'
    assert.equal((await exec(['--', 'sh', '-c', swap])).code, 0)
    assert.match((await reading).stdout, /lifted_by_other_wall 0/)
  })

  test('S4-9: keeps a secret closed under an fd after a program outside replaced it', async () => {
    const reading = exec(['--', './attacks', 'secret_removed'])
    await isThere('holds')
    writeFileSync(`${place.state}/pem-new`, `${secret}\n`)
    renameSync(`${place.state}/pem-new`, join(place.cwd, 'certs/server.pem'))
    writeFileSync(join(place.cwd, 'replaced'), '')
    assert.match((await reading).stdout, /secret_removed 0/)
  })

  test(
    'S4-9: refuses a socket of this machine in a folder of the system',
    {
      skip: process.getuid?.() !== 0 && 'only root makes a socket there',
    },
    async () => {
      const folder = mkdtempSync('/opt/mayfly-test-')
      const server = createServer((socket) => socket.destroy())
      try {
        chmodSync(folder, 0o755)
        server.listen({ path: join(folder, 'a.sock'), writableAll: true })
        await once(server, 'listening')
        const flags = ['--env', `SYSTEM_SOCKET=${join(folder, 'a.sock')}`]
        const { stdout } = await exec([...flags, '--', './attacks', 'system_socket'])
        assert.match(stdout, /system_socket 0/)
      } finally {
        server.close()
        rmSync(folder, { recursive: true })
      }
    },
  )

  test(
    'S4-9: keeps a file closed to root below a folder of the system that only root may enter',
    { skip: process.getuid?.() !== 0 && 'only root makes a folder there' },
    async () => {
      const folder = mkdtempSync('/opt/mayfly-test-')
      try {
        writeFileSync(join(folder, 'key'), `${secret}\n`, { mode: 0o644 })
        const { stdout } = await exec(['--', 'cat', join(folder, 'key')])
        assert.equal(stdout, '')
        chmodSync(folder, 0o755)
        assert.equal((await exec(['--', 'cat', join(folder, 'key')])).stdout, `${secret}\n`)
      } finally {
        rmSync(folder, { recursive: true })
      }
    },
  )

  test('S4-9: keeps a secret closed while a program outside replaces it by rename', async () => {
    const file = join(place.cwd, '.env')
    let replaced = 0
    const replacing = setInterval(() => {
      writeFileSync(`${place.state}/env-new`, `${secret}\n`)
      renameSync(`${place.state}/env-new`, file)
      replaced++
    }, 2)
    setTimeout(() => writeFileSync(join(place.cwd, 'done'), ''), 1500)
    try {
      assert.match((await exec(['--', './attacks', 'secret_replaced'])).stdout, /secret_replaced 0/)
    } finally {
      clearInterval(replacing)
    }
    assert.ok(replaced > 10, `${replaced}`)
  })

  test('S4-9: shows a folder under its real path if it was given by a symbolic link', async () => {
    const link = join(place.state, 'link')
    symlinkSync(place.cwd, link)
    const { stdout } = await exec(['--', 'sh', '-c', 'pwd; echo x > .bashrc; ls -d .bashrc'], link)
    assert.equal(stdout.trim(), place.cwd)
  })

  test('S4-9: protects Mayfly’s own programs inside the folder', async () => {
    const programs = join(place.cwd, 'node_modules/mayfly')
    mkdirSync(programs, { recursive: true })
    const linked = join(programs, 'mayfly.js')
    symlinkSync(bin, linked)
    const { stdout } = await mayfly(
      place,
      ['exec', '--env', `PROGRAM_PATH=${linked}`, '--', './attacks', 'own_programs'],
      {
        program: linked,
      },
    )
    assert.match(stdout, /own_programs 0/)
  })
})

/** Attacks that affect nothing outside of the folder when they succeed. */
const harmless = Object.keys(attacks).filter(
  (name) =>
    !/^(?:home|state|first_process|links_to_first_process|namespaces|own_filter|other_doors|settings_of_the_machine)$/.test(
      name,
    ) && !/race|abstract|network|terminal|processes|signals|sockets/.test(name),
)

suite('The same attacks without a wall', { skip: noFolderWall, timeout: 120_000 }, () => {
  for (const name of harmless)
    test(`S4-9: ${name} succeeds without the wall`, async () => {
      const place = makePlace()
      try {
        makeProject(place.cwd)
        await makeProgram('attacks', join(place.cwd, 'attacks'))
        const bare = spawnSync('./attacks', [name], {
          cwd: place.cwd,
          encoding: 'utf8',
          // The last fd is open besides the standard ones; libuv skips an 'ignore' from fd 3 on.
          stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
        })
        assert.equal(bare.stdout, `${name} 1\n`, bare.stderr)
      } finally {
        place.remove()
      }
    })
})

test('Attack: a socket that lingers, or that is made blocking during its connect, does not keep a supervisor from its work', async (t) => {
  if (noFolderWall) return t.skip(noFolderWall)
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-linger-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  // A cache of its own: the program includes a file that its key does not cover.
  const made = join(folder, 'made')
  mkdirSync(made, { mode: 0o700 })
  const source = fileURLToPath(new URL('linger.c', import.meta.url))
  const found = await openCProgram({ name: 'test-linger', sources: [source], folder: made })
  if ('missing' in found) throw new Error(found.missing)
  const { stdout } = spawnSync(found.file, { encoding: 'utf8', timeout: 60_000 })
  assert.equal(stdout, 'in time\n')
})
