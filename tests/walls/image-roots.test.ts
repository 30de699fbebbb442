import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { nodeProgram } from '../../src/jail/whole-guests.ts'
import { systemClock } from '../../src/contract/clock.ts'
import { isRunscThere, makeGvisor, noRunsc } from '../conformance/gvisor.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { Stand, until } from '../conformance/stand.ts'
import { findImageRoot, programOfImage } from '../../src/jail/image-root.ts'
import { removeRoots } from '../../src/images/unpack.ts'
import { cacheFolder } from '../../src/lib/cache-folder.ts'
import { Warden } from '../../src/warden/warden.ts'
import { whyNotBuilt } from '../fixtures/buildable.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'

const bin = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url))
/** Runs of one image, whose bytes are compared before and after. */
const runs = process.env['MAYFLY_LONG'] ? 1000 : 3
const providers = ['bubblewrap', 'embedded', 'gvisor'] as const
/** Makes four concurrent requests and a refused one, and prints its rights and the users of all processes. */
const asksAndLooks = `
import concurrent.futures, glob, urllib.error, urllib.request
def ask(url):
    try: return len(urllib.request.urlopen(url, timeout=30).read())
    except urllib.error.HTTPError as error: return error.code
def main(input):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        said = list(pool.map(ask, [input['granted']] * 4 + [input['other']]))
    status = [line.split() for line in open('/proc/self/status')]
    rights = {line[0][:-1]: line[1].lstrip('0') or '0' for line in status if line[0].startswith('Cap')}
    users = {line.split()[1] for place in glob.glob('/proc/[0-9]*/status')
             for line in open(place) if line.startswith('Uid')}
    return [said, rights, sorted(users)]`
let root: string
let digest = ''
/** Reason why no image can be built here. */
let reason = ''
let wasUnpacked = false

before(() => {
  root = mkdtempSync(join(tmpdir(), 'mayfly-image-roots-'))
  const built = mayfly('images', 'build', 'python', '--json')
  const said = JSON.parse(built.stdout)
  reason = whyNotBuilt('python', said)
  if (!reason) digest = said.images[0].digest
  wasUnpacked = existsSync(join(cacheFolder('image-roots'), digest || 'none'))
  if (reason === '') importFeed('3.5.0-1')
})
after(() => {
  if (digest && !wasUnpacked)
    rmSync(join(cacheFolder('image-roots'), digest), { recursive: true, force: true })
  rmSync(root, { recursive: true, force: true })
})

suite('Programs whose root is an image', () => {
  test('A job in an image that is not unpacked is unavailable, with a hint to unpack it', (t) => {
    if (isSkipped(t)) return
    if (wasUnpacked) return t.skip('the image was unpacked before')
    scan()
    const { status, error } = run('print(1)')
    assert.deepEqual([status, error.code], ['unavailable', 'NOT_FOUND'])
    assert.match(error.details.hint, /mayfly images unpack sha256:/)
  })

  for (const provider of providers)
    test(`A program behind ${provider} has the files of the image, and none of this system; the record names its digest`, (t) => {
      if (isSkipped(t)) return
      unpack()
      const program = `import os, sys
print(sys.version_info[:2], os.path.realpath(sys.executable), os.path.exists('/usr/share/dpkg'))
print(open('/etc/os-release').read().count('trixie') > 0, os.path.exists('/opt/mayfly/bin/node'))
for place in ('/usr/x', '/usr/lib/python3.13/os.py', '/etc/ssl/certs/ca-certificates.crt'):
  try: open(place, 'a'); print('written', place)
  except OSError as error: print(error.errno)`
      const outcome = run(program, '--provider', provider)
      if (isMissing(t, outcome)) return
      assert.deepEqual([outcome.status, outcome.error], ['ok', undefined])
      assert.equal(outcome.provider, provider)
      const [first, second, ...denied] = outcome.stdout.trim().split('\n')
      assert.equal(denied.length, 3)
      assert.equal(first, '(3, 13) /usr/bin/python3.13 False')
      assert.equal(second, 'True False')
      // EROFS, or EACCES where a layer before it refuses.
      for (const one of denied) assert.match(one, /^(?:30|13)$/)
      assert.equal(outcome.image, `sha256:${digest}`)
      const record = mayfly('audit', 'list', '--run', outcome.id, '--json').stdout
      assert.ok(record.includes(`"image":"sha256:${digest}"`), record)
      const because = outcome.profile.explain.find(
        ({ field }: { readonly field: string }) => field === 'image',
      )
      assert.equal(because.value, `sha256:${digest}`)
      assert.match(because.because, /^asked "python"; scanned: feed "debian", 0 hours old/)
    })

  test('A program in an image behind gVisor has no capability, shares its wall with no root process, and reaches only granted hosts', async (t) => {
    if (isSkipped(t)) return
    if (!isRunscThere()) return t.skip(noRunsc)
    unpackOnce()
    const server = createServer((_request, response) => void response.end('x'.repeat(300_000)))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const made = await makeGvisor({}, 'python', {
      credentials: [],
      dial: {
        resolver: (name) => Promise.resolve(name.endsWith('.example') ? ['127.0.0.1'] : []),
        exceptions: [`127.0.0.1:${port}`],
      },
    })
    try {
      const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
      const granted = `http://a.example:${port}`
      const wish = { controls: { network: { allow: [granted], deny: [] } } }
      const input = { granted, other: `http://b.example:${port}` }
      const profile = { ...stand.profile(wish), image: `sha256:${digest}` }
      await using sandbox = await made.provider.launch(profile, systemClock)
      const { end } = stand.begin(sandbox, asksAndLooks, { ...wish, input })
      const { status, resultText, error } = await end
      assert.deepEqual([status, error], ['ok', undefined])
      assert.deepEqual(JSON.parse(resultText), [
        [300_000, 300_000, 300_000, 300_000, 403],
        { CapInh: '0', CapPrm: '0', CapEff: '0', CapBnd: '0' },
        ['1000', '65534'],
      ])
    } finally {
      await made.provider.close?.()
      await made.close()
      server.close()
    }
  })

  test('An image may be named by its digest, and an invalid name is INVALID', (t) => {
    if (isSkipped(t)) return
    unpackOnce()
    const { status, stdout, image } = run('print(1)', '--image', `sha256:${digest}`)
    assert.deepEqual([status, stdout, image], ['ok', '1\n', `sha256:${digest}`])
    assert.equal(run('print(1)', '--image', '../python').error.code, 'INVALID')
    assert.equal(run('print(1)', '--image', 'gone').error.code, 'NOT_FOUND')
  })

  test('Attack: no wall that cannot use an image runs the job without it', (t) => {
    if (isSkipped(t)) return
    unpackOnce()
    for (const words of [
      ['--language', 'js'],
      ['--provider', 'isolated-vm'],
    ]) {
      const outcome = run('print(1)', ...words)
      assert.equal(outcome.status, 'unavailable', words.join(' '))
      assert.equal(outcome.stdout, '')
    }
    const node = run('console.log(1)', '--language', 'node')
    assert.deepEqual([node.status, node.stdout], ['unavailable', ''])
    assert.match(node.error.message, /it has no "\/usr\/bin\/node"/)
  })

  test(`S1-26: an image is unchanged after ${runs} runs`, (t) => {
    if (isSkipped(t)) return
    unpackOnce()
    const writes = `for place in ('/usr/lib/new', '/etc/ssl/new', '/usr/lib/python3.13/os.py'):
  try: open(place, 'a').write('x')
  except OSError: print('refused')`
    for (let count = 0; count < runs; count += 1) {
      const { stdout, image } = run(writes)
      assert.deepEqual([stdout, image], ['refused\n'.repeat(3), `sha256:${digest}`])
    }
    assert.equal(mayfly('images', 'verify', 'python').status, 0)
  })

  test('S0-28: an image with a planted vulnerable package is refused, with the age of its feed, and so is an old feed', (t) => {
    if (isSkipped(t)) return
    unpackOnce()
    importFeed('99')
    scan()
    const vulnerable = run('print(1)')
    assert.deepEqual([vulnerable.status, vulnerable.error.code], ['unavailable', 'IMAGE_REFUSED'])
    assert.match(
      vulnerable.error.message,
      /TOO_SEVERE: .*CVE-2026-0001 of openssl.*feed "debian", 0 hours old/,
    )
    assert.equal(vulnerable.stdout, '')
    importFeed('3.5.0-1', '--as-of', '2026-01-01')
    scan()
    const old = run('print(1)')
    assert.equal(old.error.code, 'IMAGE_REFUSED')
    assert.match(old.error.message, /FEED_OLD: its scan used feed "debian", which is \d+ days old/)
    assert.match(old.error.details.hint, /images feeds import/)
    importFeed('3.5.0-1')
    scan()
    assert.equal(run('print(1)').status, 'ok')
  })

  test('A killed unpacking leaves no root, and the next one removes its draft', async (t) => {
    if (isSkipped(t)) return
    if (wasUnpacked) return t.skip('the image was unpacked before')
    const tree = join(cacheFolder('image-roots'), digest)
    rmSync(tree, { recursive: true, force: true })
    const args = [bin, 'images', 'unpack', 'python', '--state', join(root, 'state')]
    const child = spawn(process.execPath, args, { stdio: 'ignore' })
    const drafts = () =>
      namesIn(cacheFolder('image-roots')).filter((name) => name.startsWith(`.draft-${child.pid}-`))
    await until(() => drafts().length > 0 || child.exitCode !== null, 'a draft')
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    assert.deepEqual([drafts().length, existsSync(tree)], [1, false])
    unpack()
    assert.deepEqual([drafts().length, existsSync(tree)], [0, true])
  })

  test('An unpacking of an unchanged tree leaves it to the walls that run in it, and a changed one is replaced', (t) => {
    if (isSkipped(t)) return
    unpack()
    const tree = join(cacheFolder('image-roots'), digest)
    const before = lstatSync(tree).ino
    unpack()
    assert.equal(lstatSync(tree).ino, before)
    rmSync(join(tree, 'usr/lib/python3.13/os.py'))
    unpack()
    assert.notEqual(lstatSync(tree).ino, before)
    assert.equal(mayfly('images', 'verify', 'python').status, 0)
  })

  test('A full disk is DISK_FULL, and no root and no draft is left', (t) => {
    if (isSkipped(t)) return
    if (process.getuid?.() !== 0) return t.skip('only root mounts a small disk')
    const script = `mount -t tmpfs -o size=8m,mode=755 none "$0" &&
      "$1" "$2" images unpack python --quiet --json --state "$3"; ls -A "$0" >&2`
    const words = [cacheFolder('image-roots'), process.execPath, bin, join(root, 'state')]
    const ran = spawnSync('unshare', ['-m', 'sh', '-c', script, ...words], { encoding: 'utf8' })
    assert.equal(JSON.parse(ran.stdout).error?.code, 'DISK_FULL', ran.stdout)
    assert.doesNotMatch(ran.stderr, /^(?:\.draft|[0-9a-f]{64})/m)
  })

  test('Attack: a changed tree does not verify, and a tree that others may write to or a link is refused as root', (t) => {
    if (isSkipped(t)) return
    unpack()
    const tree = join(cacheFolder('image-roots'), digest)
    const file = join(tree, 'usr/lib/python3.13/os.py')
    chmodSync(file, 0o644)
    appendFileSync(file, '\n# changed\n')
    const verified = mayfly('images', 'verify', 'python')
    assert.equal(verified.status, 1)
    assert.match(verified.stdout, /^bad: python .*: its unpacked files differ from the image/)
    unpack()
    assert.equal(mayfly('images', 'verify', 'python').status, 0)
    chmodSync(file, 0o4644)
    assert.equal(mayfly('images', 'verify', 'python').status, 1)
    unpack()
    chmodSync(dirname(file), 0o777)
    const opened = mayfly('images', 'verify', 'python')
    assert.deepEqual([opened.status, /the mode of folder/.test(opened.stdout)], [1, true])
    unpack()
    assert.equal(mayfly('images', 'verify', 'python').status, 0)
    chmodSync(tree, 0o777)
    assert.throws(() => findImageRoot(digest), { code: 'NOT_FOUND' })
    chmodSync(tree, 0o755)
    renameSync(tree, join(root, 'elsewhere'))
    symlinkSync(join(root, 'elsewhere'), tree)
    assert.throws(() => findImageRoot(digest), { code: 'NOT_FOUND' })
    rmSync(tree)
    renameSync(join(root, 'elsewhere'), tree)
    assert.equal(findImageRoot(digest), tree)
  })
})

test('Attack: a server cannot start an image job on an engine that ignores images', async () => {
  const state = mkdtempSync(join(tmpdir(), 'mayfly-warden-'))
  const warden = new Warden({ stateFolder: join(state, 'state') }, () => undefined)
  const image = randomBytes(32).toString('hex')
  const tree = join(cacheFolder('image-roots'), image)
  try {
    const start = { protocol: 1, id: 1, op: 'start', spares: 0, spareMiB: 8 } as const
    for (const mechanism of ['gvisor', 'qemu', 'bubblewrap', 'embedded']) {
      const { reply } = await warden.answer({ ...start, program: 'python', mechanism, image })
      const code = 'ok' in reply && !reply.ok ? reply.code : 'started'
      assert.ok(['UNAVAILABLE', 'NOT_FOUND'].includes(code), `${mechanism}: ${code}`)
    }
    const why = async (program: 'isolated-vm' | 'python', mechanism: string) => {
      const { reply } = await warden.answer({ ...start, program, mechanism, image })
      return 'ok' in reply && !reply.ok ? reply.message : 'started'
    }
    for (const engine of ['podman', 'docker'])
      assert.match(await why('python', engine), /in an image: no engine supports it/, engine)
    // An image that is there, so that only the program is a reason.
    mkdirSync(tree, { recursive: true, mode: 0o755 })
    const reasons = /Cannot start a worker in an image|namespaces are not available/
    assert.match(await why('isolated-vm', 'any'), reasons)
  } finally {
    await warden.close()
    rmSync(tree, { recursive: true, force: true })
    rmSync(state, { recursive: true, force: true })
  }
})

test('A tree with mounts is kept when its image is removed, until a command after the last of them', async (t) => {
  const roots = mkdtempSync(join(root, 'roots-'))
  mkdirSync(join(roots, 'a'.repeat(64), 'usr'), { recursive: true })
  writeFileSync(join(roots, 'a'.repeat(64), 'usr', 'file'), 'whole')
  const script = 'mount --bind "$0/usr" /mnt && echo ready && read line && cat /mnt/file'
  const words = ['-r', '-m', 'sh', '-c', script, join(roots, 'a'.repeat(64))]
  const child = spawn('unshare', words, { stdio: ['pipe', 'pipe', 'ignore'] })
  const ended = once(child, 'close')
  let text = ''
  child.stdout.on('data', (bytes) => (text += String(bytes)))
  await Promise.race([once(child.stdout, 'data'), ended])
  if (text !== 'ready\n') return t.skip('no mount namespace can be made here')
  removeRoots(roots, ['a'.repeat(64)])
  assert.match(namesIn(roots).join(), /^\.old-[0-9a-f]{16}$/)
  child.stdin.end('\n')
  await ended
  assert.equal(text, 'ready\nwhole')
  removeRoots(roots, [])
  assert.deepEqual(namesIn(roots), [])
})

test('Attack: links in an image are not followed on this system', () => {
  const tree = mkdtempSync(join(tmpdir(), 'mayfly-tree-'))
  try {
    symlinkSync('/etc', join(tree, 'etc'))
    symlinkSync('/usr', join(tree, 'usr'))
    const program = nodeProgram({ scratchBytes: 2 ** 20 })
    assert.throws(() => programOfImage(program, tree), {
      code: 'UNAVAILABLE',
      message:
        'Cannot start in this image: it has no "/usr/bin/node", which Node programs and shell scripts need',
    })
  } finally {
    rmSync(tree, { recursive: true, force: true })
  }
})

function isSkipped(t: TestContext): boolean {
  if (reason !== '') t.skip(reason)
  return reason !== ''
}

interface ToldOutcome {
  readonly id: string
  readonly status: string
  readonly stdout: string
  readonly image?: string
  readonly provider?: string
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly error?: any
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly profile: any
}

function isMissing(t: TestContext, { status, error }: ToldOutcome): boolean {
  const isGone = status === 'unavailable' && /no available provider/.test(error?.message)
  if (isGone && process.env['CI'] === 'true') throw new Error(error?.message)
  if (isGone) t.skip(error?.message)
  return isGone
}

function run(code: string, ...words: readonly string[]) {
  const file = join(root, 'program.py')
  writeFileSync(file, code)
  const image = words.includes('--image') ? [] : ['--image', 'python']
  const more = ['--once', '--json', '--timeout', '60s', ...image]
  return JSON.parse(mayfly('run', file, ...more, ...words).stdout)
}

function namesIn(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder) : []
}

let isUnpacked = false

function unpackOnce(): void {
  if (!isUnpacked) unpack()
  isUnpacked = true
}

function unpack(): void {
  const { status, stderr } = mayfly('images', 'unpack', 'python')
  assert.equal(status, 0, stderr)
  scan()
}

function scan(): void {
  const { stderr, stdout } = mayfly('images', 'scan', 'python', '--json')
  assert.equal(JSON.parse(stdout).images?.length, 1, stderr)
}

/** A feed with a vulnerability of OpenSSL that this version fixes. */
function importFeed(fixed: string, ...more: readonly string[]): void {
  const release = { status: 'resolved', fixed_version: fixed, urgency: 'high' }
  const entry = { 'CVE-2026-0001': { releases: { trixie: release } } }
  const file = join(root, 'debian.json')
  writeFileSync(file, JSON.stringify({ openssl: entry }))
  assert.equal(mayfly('images', 'feeds', 'import', file, ...more).status, 0)
}

function mayfly(...words: readonly string[]) {
  const args = [bin, ...words, '--state', join(root, 'state')]
  return spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 300_000 })
}
