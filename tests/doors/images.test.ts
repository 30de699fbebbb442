import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { packageFolder } from '../../src/images/package-cache.ts'
import { ownMakers, ownRecipes, readRecipe } from '../../src/images/recipe.ts'
import { openImageStore } from '../../src/images/store.ts'
import { attempt } from '../../src/lib/attempt.ts'
import { wardenFolder } from '../../src/lib/state-folder.ts'
import { whyNotBuilt } from '../fixtures/buildable.ts'

const bin = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url))
const cache = packageFolder()
const isRoot = process.getuid?.() === 0
/** Deadline for a build to begin, and for the children of a killed build to end. */
const waitMsMax = 60_000
let root: string
let state: string
let count = 0
/** Reason why nothing can be built here. */
let reason = ''
let digest = ''

before(() => {
  root = mkdtempSync(join(tmpdir(), 'mayfly-images-'))
  state = join(root, 'first')
  const built = images('build', 'minimal', '--json')
  const said = JSON.parse(built.stdout)
  reason = whyNotBuilt('minimal', said)
  if (!reason) digest = said.images[0].digest
})
after(() => rmSync(root, { recursive: true, force: true }))
beforeEach(() => {
  state = join(root, String((count += 1)))
})

suite('Images of Debian packages', () => {
  test('Building an image again in another folder at another time gives the same digest', async (t) => {
    if (reason) return t.skip(reason)
    await sleep(1100)
    const built = images('build', 'minimal', '--json')
    assert.equal(built.status, 0, built.stderr)
    const [image] = JSON.parse(built.stdout).images
    assert.equal(image.digest, digest)
    assert.match(built.stderr, /minimal: \d+ packages, all cached/)
    const [, printed] =
      /minimal: sha256:[0-9a-f]{64}, (\d+\.\d) MB, \d+\.\d s/.exec(built.stderr) ?? []
    assert.equal(printed, (image.size / 2 ** 20).toFixed(1), built.stderr)
    const bytes = readFileSync(blob())
    assert.equal(bytes.length, image.size)
    const magic = 0xe0f5e1e2
    assert.equal(bytes.readUInt32LE(1024), magic)
  })

  test('An image can be mounted, belongs to root, and runs its shell', (t) => {
    if (reason) return t.skip(reason)
    if (!isRoot) return t.skip('only root mounts')
    images('build', 'minimal')
    const folder = join(root, 'mounted')
    mkdirSync(folder)
    const script = `PATH="$PATH:/usr/sbin:/sbin"; mount -t erofs -o loop,ro "$0" "$1" || exit 77
      stat -c %a:%u:%Y "$1" "$1/usr/bin/busybox"
      find "$1" ! -uid 0 -o ! -gid 0 -o -newermt 1980-01-02 -o -perm /6000 -o -type b -o -type c
      chroot "$1" /bin/sh -c 'grep -c BEGIN /etc/ssl/certs/ca-certificates.crt'`
    const ran = spawnSync('unshare', ['-m', 'sh', '-c', script, blob(), folder], {
      encoding: 'utf8',
    })
    const isKnown = readFileSync('/proc/filesystems', 'utf8').includes('erofs')
    if (ran.status === 77 && !isKnown) return t.skip('this kernel has no erofs')
    const lines = ran.stdout.trim().split('\n')
    assert.deepEqual(lines.slice(0, 2), ['755:0:315532800', '755:0:315532800'], ran.stderr)
    assert.equal(lines.length, 3, `${ran.stdout}\n${ran.stderr}`)
    assert.ok(Number(lines[2]) > 100)
  })

  test('An image is listed, shown, verified, tagged and collected', (t) => {
    if (reason) return t.skip(reason)
    images('build', 'minimal', '--tag', 'stable')
    const { function: purpose } = readRecipe(ownRecipes, 'minimal')
    assert.match(
      images('list').stdout,
      new RegExp(`minimal, stable +linux +${digest.slice(0, 12)} +\\d.*MB .* ${purpose}$`, 'm'),
    )
    const shown = JSON.parse(images('show', 'stable', '--json').stdout)
    assert.equal(shown.digest, digest)
    const names = shown.packages.map(({ name }: { readonly name: string }) => name)
    assert.deepEqual(names, ['base-files', 'busybox-static', 'ca-certificates'])
    assert.match(images('show', digest.slice(0, 8)).stdout, /package +busybox-static/)
    assert.equal(images('verify').status, 0)
    images('untag', 'minimal')
    assert.deepEqual(JSON.parse(images('gc', '--json').stdout).removed, [])
    images('untag', 'stable')
    assert.deepEqual(JSON.parse(images('gc', '--json').stdout).removed, [digest])
    assert.deepEqual(JSON.parse(images('list', '--json').stdout).images, [])
    assert.equal(codeOf(images('show', 'stable', '--json')), 'NOT_FOUND')
  })

  test('S0-6: the list has images of Linux and the runtime of WebAssembly, each with its size', (t) => {
    if (reason) return t.skip(reason)
    images('build', 'minimal')
    const listed = images('list').stdout
    assert.match(listed, /^minimal +linux +\w{12} +1\.\d MB /m)
    assert.match(listed, /^wasi +wasm +\w{12} +\d+(?:\.\d)? KB +V8 \d.* WASI preview 1$/m)
    const { images: built, runtimes } = JSON.parse(images('list', '--json').stdout)
    assert.equal(built.length, 1)
    assert.ok(runtimes[0].size > 0 && runtimes[0].size < built[0].size)
  })

  test('A bill of materials names each package with its source, and is signed with the image', (t) => {
    if (reason) return t.skip(reason)
    images('build', 'minimal')
    const shown = images('show', 'minimal', '--sbom')
    const sbom = JSON.parse(shown.stdout)
    assert.deepEqual([sbom.bomFormat, sbom.specVersion], ['CycloneDX', '1.7'])
    assert.equal(sbom.metadata.component.version, `sha256:${digest}`)
    const sourceOf = ({ pedigree }: any) =>
      /^pkg:deb\/debian\/([\w-]+)@.*\?arch=source&/.exec(pedigree.ancestors[0].purl)?.[1]
    assert.deepEqual(
      sbom.components.map((one: any) => [one.name, sourceOf(one)]),
      [
        ['base-files', 'base-files'],
        ['busybox-static', 'busybox'],
        ['ca-certificates', 'ca-certificates'],
      ],
    )
    const { purl } = sbom.components[1]
    assert.match(purl, /^pkg:deb\/debian\/busybox-static@1:.*\?arch=amd64&distro=trixie$/)
    const file = join(store(), 'sboms', `${digest}.json`)
    writeFileSync(file, shown.stdout.replace('busybox', 'busyb0x'))
    assert.equal(codeOf(images('show', 'minimal', '--sbom', '--json')), 'IMAGE_BROKEN')
    const verified = images('verify')
    assert.equal(verified.status, 1)
    assert.match(verified.stdout, /^bad: minimal .*: its bill of materials/)
  })

  test('Attack: a manifest that was changed, or signed by another state folder, does not verify', (t) => {
    if (reason) return t.skip(reason)
    images('build', 'minimal')
    const file = join(store(), 'manifests', `${digest}.json`)
    const text = readFileSync(file, 'utf8')
    writeFileSync(file, text.replace('"version": "13', '"version": "12'))
    const changed = images('verify', 'minimal')
    assert.equal(changed.status, 1)
    assert.match(changed.stdout, /^bad: minimal .*: its signature is wrong/)
    const other = join(root, 'first-warden', 'images', 'manifests', `${digest}.json`)
    cpSync(other, file)
    const own = images('verify')
    assert.equal(own.status, 1)
    assert.match(own.stdout, /^bad: minimal .*another key/m)
  })

  test('A missing recipe is NOT_FOUND', () => {
    assert.equal(codeOf(images('build', 'gone', '--json')), 'NOT_FOUND')
  })

  test('Attack: a cached package that is truncated or changed is PACKAGE_BROKEN, and no image is left', (t) => {
    if (reason) return t.skip(reason)
    const build = (packages: string) => images('build', 'minimal', '--json', '--packages', packages)
    for (const attack of [
      (file: string) => truncateSync(file, 1000),
      (file: string) => writeFileSync(file, Buffer.alloc(statSync(file).size)),
      // The time of the first member of the archive, which is unpacked as before.
      (file: string) => writeFileSync(file, readFileSync(file).fill('2', 24, 25)),
    ]) {
      const packages = copyOfCache()
      attack(join(packages, `${lockedSha256('busybox-static')}.deb`))
      assert.equal(codeOf(build(packages)), 'PACKAGE_BROKEN')
      assert.deepEqual(leftovers(), [])
    }
    // The packages of the copy are enough.
    assert.equal(build(copyOfCache()).status, 0)
  })

  test('A second build at the same time is BUSY', (t) => {
    if (reason) return t.skip(reason)
    using _ = openImageStore(store())
    assert.equal(codeOf(images('build', 'minimal', '--json')), 'BUSY')
  })

  test('A build that is killed leaves no image and no process, and the next one succeeds', async (t) => {
    if (reason) return t.skip(reason)
    const args = [bin, 'images', 'build', 'minimal', '--quiet', '--state', state]
    const child = spawn(process.execPath, args, { stdio: 'ignore' })
    // Programs of the build, since its own command line has only the state folder.
    const programs = () => pidsOf((line) => line.includes(store()) && !line.startsWith('setpriv'))
    // A stopped program does not end by itself.
    const stopsOne = () => programs().some((pid) => stopsChild(pid, child.pid!))
    try {
      await until(() => filesBelow(join(store(), 'work')) > 1 && stopsOne())
      child.kill('SIGKILL')
      await once(child, 'exit')
      for (const folder of ['blobs', 'manifests', 'tags'])
        assert.deepEqual(namesIn(join(store(), folder)), [], folder)
      await until(() => pidsOf((line) => line.includes(store())).length === 0)
    } finally {
      for (const pid of programs()) attempt(() => process.kill(pid, 'SIGKILL'))
    }
    assert.equal(images('build', 'minimal').status, 0)
    assert.deepEqual(leftovers(), [
      `blobs/${digest}.erofs`,
      `sboms/${digest}.json`,
      `manifests/${digest}.json`,
      'tags/minimal',
    ])
  })

  test('A build that gets SIGTERM leaves nothing', async (t) => {
    if (reason) return t.skip(reason)
    const args = [bin, 'images', 'build', 'minimal', '--quiet', '--state', state]
    const child = spawn(process.execPath, args, { stdio: 'ignore' })
    await until(() => existsSync(join(store(), 'work')) && filesBelow(join(store(), 'work')) > 1)
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit')
    assert.notEqual(code, 0)
    assert.deepEqual(leftovers(), [])
    assert.equal(existsSync(join(store(), 'work')), false)
  })

  test('A full disk is DISK_FULL, and no image is left', (t) => {
    if (reason) return t.skip(reason)
    if (!isRoot) return t.skip('only root mounts a small disk')
    for (const size of ['2m', '12m', '18m']) {
      const folder = join(root, `full-${size}`)
      mkdirSync(folder)
      const script = `mount -t tmpfs -o size=${size} none "$0" && "$1" "$2" images build minimal --json \
        --state "$0/state" --packages "$3"; ls -R "$0/state-warden/images" >&2; exit 0`
      const ran = spawnSync(
        'unshare',
        ['-m', 'sh', '-c', script, folder, process.execPath, bin, cache],
        { encoding: 'utf8' },
      )
      assert.equal(JSON.parse(ran.stdout).error?.code, 'DISK_FULL', `${size}: ${ran.stdout}`)
      assert.match(ran.stderr, /-warden\/images:\n/)
      assert.doesNotMatch(ran.stderr, /\.erofs|\.json|work/)
    }
  })
})

function images(...words: readonly string[]) {
  const args = [bin, 'images', ...words, '--state', state]
  return spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 300_000 })
}

function codeOf({ stdout }: { readonly stdout: string }): unknown {
  return JSON.parse(stdout).error?.code
}

function store(): string {
  return join(wardenFolder(state), 'images')
}

function blob(): string {
  return join(store(), 'blobs', `${digest}.erofs`)
}

/** Names of images, manifests and tags. */
function leftovers(): readonly string[] {
  return ['blobs', 'sboms', 'manifests', 'tags', 'work'].flatMap((folder) =>
    namesIn(join(store(), folder)).map((name) => `${folder}/${name}`),
  )
}

function namesIn(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder) : []
}

function filesBelow(folder: string): number {
  try {
    return readdirSync(folder, { recursive: true }).length
  } catch {
    return 0
  }
}

/** Packages of the locks alone, so that nothing is downloaded into the copy. */
function copyOfCache(): string {
  const folder = mkdtempSync(join(root, 'packages-'))
  for (const file of [join(ownRecipes, 'minimal.lock.json'), join(ownMakers, 'maker.lock.json')])
    for (const { sha256 } of JSON.parse(readFileSync(file, 'utf8')).packages)
      cpSync(join(cache, `${sha256}.deb`), join(folder, `${sha256}.deb`))
  return folder
}

function lockedSha256(name: string): string {
  const { packages } = JSON.parse(readFileSync(join(ownRecipes, 'minimal.lock.json'), 'utf8'))
  return packages.find((one: { readonly name: string }) => one.name === name).sha256
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + waitMsMax
  while (!holds() && performance.now() < deadline) await sleep(5)
  assert.ok(holds(), 'waited too long')
}

/** Processes by their command lines. */
function pidsOf(holds: (line: string) => boolean): readonly number[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const lineOf = (pid: string) => attempt(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
  return all.filter((pid) => holds(lineOf(pid) ?? '')).map(Number)
}

/** True once a child of `parent` is stopped: one that ends takes signals too. */
function stopsChild(pid: number, parent: number): boolean {
  const stat = () => attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? ''
  if (!stat().match(`\\) [A-Z] ${parent} `)) return false
  attempt(() => process.kill(pid, 'SIGSTOP'))
  return stat().includes(') T ')
}
