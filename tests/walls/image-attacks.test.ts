import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, suite, test, type TestContext } from 'node:test'
import { sharedLayout } from '../../src/contract/shared-layout.ts'
import { manifestStatement } from '../../src/images/manifest.ts'
import { imageFolder, openImageStore } from '../../src/images/store.ts'
import { openCProgram } from '../../src/jail/c-program.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { openOwnProgram } from '../../src/jail/own-programs.ts'
import { attempt } from '../../src/lib/attempt.ts'
import { cacheFolder } from '../../src/lib/cache-folder.ts'
import { signerFolder } from '../../src/lib/state-folder.ts'
import { findProgram } from '../../src/os/find-program.ts'
import type { StartedWall, StartSettings } from '../../src/walls/client.ts'
import { openImageSigner } from '../../src/warden/image-signer.ts'
import { until } from '../conformance/stand.ts'
import { plantedManifest } from '../fixtures/plant-image.ts'
import { openWhole } from './whole-wall.ts'

/** Walls in an image that others made and an operator imported: none of its programs may run before its wall holds. */
const MiB = 2 ** 20
const root = mkdtempSync(join(tmpdir(), 'mayfly-image-attacks-'))

/**
 * Shell and interpreter of such an image, without a loader or a libc. As the interpreter it leaves a child behind, which lives on
 * wherever no process namespace ends it, and says that it is ready. With `/usr/lies` it says in place of all that the kernel
 * refused the sentinel.
 */
const hostile = `#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static int says(const char *text) { return write(4, text, strlen(text)) < 0; }
int main(int argc, char **argv) {
  if (access("/usr/lies", F_OK) == 0) return says("Esentinel: load the filter: no") | 1;
  size_t length = strlen(argv[0]);
  if (length >= 2 && !strcmp(argv[0] + length - 2, "sh") && argc > 4) {
    if (fork() == 0) execv(argv[4], argv + 4);
    return wait(0) < 0;
  }
  if (fork() == 0) {
    alarm(120);
    for (;;) pause();
  }
  dup2(4, 7); /* In place of the listener that the warden copies. */
  says("R");
  for (;;) pause();
}
`
const made = await compiled()
const missing =
  made.missing ??
  (findJailFacts().namespaces ? undefined : 'namespaces are not available here') ??
  (fieldOf(process.pid, 'Seccomp_filters') === '' ? 'Linux counts filters since 5.9' : undefined)
const trees: string[] = []

after(() => {
  for (const place of [...trees, root]) rmSync(place, { recursive: true, force: true })
})

suite('Attack: an imported image', () => {
  test('has no template, which would run its interpreter with capabilities and outside of any wall', async (t) => {
    if (isSkipped(t)) return
    await using whole = await openWhole({ templates: 'all', sentinel: false })
    const image = imported(whole.stateFolder)
    const programs = () => processesOf(join(cacheFolder('image-roots'), image, 'usr/bin/python3'))
    try {
      const { wall, ...sockets } = await whole.warden.start('python', settings('embedded', image))
      const found = programs()
      assert.ok(found.length > 0)
      for (const pid of found) assert.match(fieldOf(pid, 'CapPrm'), /^0+$/)
      assert.equal(wall.missing.includes(sharedLayout), false)
      close(sockets)
      await whole.warden.kill(wall.id)
      await until(() => programs().length === 0, 'the end of those that no wall ends')
    } finally {
      for (const pid of programs()) process.kill(pid, 'SIGKILL')
    }
  })

  for (const mechanism of ['embedded', 'bubblewrap'] as const)
    test(`without a loader has a sentinel and both filters on ${mechanism}: no code of the image runs before them`, async (t) => {
      if (isSkipped(t)) return
      if (mechanism === 'bubblewrap' && !findJailFacts().bubblewrap)
        return t.skip('bubblewrap is missing')
      await using whole = await openWhole()
      const image = imported(whole.stateFolder)
      const { wall, ...sockets } = await whole.warden.start('python', settings(mechanism, image))
      assert.ok(wall.layers.includes('sentinel'), wall.missing.join())
      assert.equal(filtersOf(wall.pid), 2)
      close(sockets)
      await whole.warden.kill(wall.id)
    })

  for (const mechanism of ['embedded', 'bubblewrap'] as const)
    test(`cannot switch off a sentinel on ${mechanism}, its own or that of others, by the words of one that the kernel refused`, async (t) => {
      if (isSkipped(t)) return
      if (mechanism === 'bubblewrap' && !findJailFacts().bubblewrap)
        return t.skip('bubblewrap is missing')
      await using whole = await openWhole()
      const lying = imported(whole.stateFolder, libraries(), ['lies'])
      for (let times = 0; times < 3; times++)
        await assert.rejects(whole.warden.start('python', settings(mechanism, lying)), {
          code: 'UNAVAILABLE',
          message: /Esentinel: load the filter: no/,
        })
      for (const image of [undefined, imported(whole.stateFolder, libraries())]) {
        const { wall, ...sockets } = await whole.warden.start('python', settings(mechanism, image))
        assert.ok(wall.layers.includes('sentinel'), `${image}: ${wall.missing.join()}`)
        close(sockets)
        await whole.warden.kill(wall.id)
      }
    })

  test('has the fixed filter and no sentinel where there is no static libc, while programs of this system have both', async (t) => {
    if (isSkipped(t)) return
    const path = process.env['PATH']
    process.env['PATH'] = `${folderOfCompiler()}:${path}`
    try {
      await using whole = await openWhole({ sentinelFolder: join(root, 'sentinels') })
      const image = imported(whole.stateFolder)
      const found: unknown[] = []
      for (const one of [image, undefined]) {
        const { wall, ...sockets } = await whole.warden.start('python', settings('embedded', one))
        const why = wall.missing.find((text) => text.startsWith('sentinel: '))
        found.push([wall.layers.includes('seccomp'), filtersOf(wall.pid), why?.slice(0, 52)])
        close(sockets)
        await whole.warden.kill(wall.id)
      }
      const why = 'sentinel: in an image it needs a static libc (libc6-'
      assert.deepEqual(found, [
        [true, 1, why],
        [true, 2, undefined],
      ])
    } finally {
      process.env['PATH'] = path
    }
  })
})

/** The program in C, or the reason why no image has it. */
async function compiled(): Promise<{ readonly file: string; readonly missing?: string }> {
  const source = join(root, 'hostile.c')
  writeFileSync(source, hostile)
  const folder = join(root, 'compiled')
  const parts = { name: 'hostile', sources: [source], linking: 'static', folder } as const
  for (const found of [await openOwnProgram('launcher'), await openCProgram(parts)]) {
    if ('missing' in found) return { file: '', missing: found.missing }
    closeSync(found.fd)
    if (found.file.startsWith(folder)) return { file: found.file }
  }
  return { file: '', missing: 'it was not compiled' }
}

/** A compiler of a machine without a static libc. */
function folderOfCompiler(): string {
  const folder = join(root, 'bin')
  const compiler = findProgram('cc') ?? findProgram('gcc')
  const script = `#!/bin/sh
case " $* " in *' -static-pie '*) echo '/usr/bin/ld: cannot find -lc' >&2; exit 1; esac
exec ${compiler} "$@"
`
  mkdirSync(folder)
  writeFileSync(join(folder, 'cc'), script, { mode: 0o755 })
  return folder
}

/**
 * An unpacked image whose manifest says that it was imported, with these files in its folders of libraries, and with empty ones in
 * `/usr`; returns its digest.
 */
function imported(
  state: string,
  loaders: readonly string[] = [],
  empty: readonly string[] = [],
): string {
  const digest = randomBytes(32).toString('hex')
  const tree = join(cacheFolder('image-roots'), digest)
  trees.push(tree)
  for (const folder of ['usr/bin', 'usr/lib', 'usr/lib64', 'usr/sbin'])
    mkdirSync(join(tree, folder), { recursive: true, mode: 0o755 })
  for (const name of ['bin', 'lib', 'lib64', 'sbin']) symlinkSync(`usr/${name}`, join(tree, name))
  for (const name of ['sh', 'python3']) {
    copyFileSync(made.file, join(tree, 'usr/bin', name))
    chmodSync(join(tree, 'usr/bin', name), 0o755)
  }
  for (const file of loaders)
    for (const folder of ['usr/lib', 'usr/lib64'])
      copyFileSync(file, join(tree, folder, basename(file)))
  for (const name of empty) writeFileSync(join(tree, 'usr', name), '')
  store(state, digest)
  return digest
}

/** Loader and libc of this process. */
function libraries(): readonly string[] {
  const maps = readFileSync('/proc/self/maps', 'utf8')
  const found = maps.matchAll(/ (\/\S+\/(?:ld-linux[^/\s]*|libc\.so\.6))$/gm)
  return [...new Set([...found].map(([, file]) => file!))]
}

function store(state: string, digest: string): void {
  for (const folder of [state, signerFolder(state)])
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  const signer = openImageSigner(signerFolder(state))
  using images = openImageStore(imageFolder(state))
  const file = join(images.work, 'image')
  writeFileSync(file, digest)
  const manifest = plantedManifest({
    name: 'imported',
    function: 'Imported',
    digest,
    size: digest.length,
    suite: 'none',
    origin: { kind: 'oci', manifest: digest, config: digest, layers: [digest] },
  })
  const { publicKey } = signer
  const signature = signer.sign(manifestStatement(manifest, publicKey))
  images.add(file, { manifest, key: publicKey, signature }, { tags: [] })
}

function settings(mechanism: 'embedded' | 'bubblewrap', image: string | undefined): StartSettings {
  return { spares: 0, spareMiB: 8, mechanism, disk: 16 * MiB, ...(image && { image }) }
}

/** Processes that execute this file. */
function processesOf(file: string): readonly number[] {
  const { dev, ino } = statSync(file)
  return readdirSync('/proc').flatMap((name) => {
    const facts = attempt(() => statSync(`/proc/${name}/exe`))
    return /^[0-9]+$/.test(name) && facts?.ino === ino && facts.dev === dev ? [Number(name)] : []
  })
}

/** Filters of a process, besides those of this test. */
function filtersOf(pid: number): number {
  const [all, own] = [pid, process.pid].map((one) => Number(fieldOf(one, 'Seccomp_filters')))
  return all! - own!
}

function fieldOf(pid: number, name: string): string {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? ''
}

function close({ socket, streams }: Omit<StartedWall, 'wall'>): void {
  for (const one of [socket, ...Object.values(streams ?? {})]) one.destroy()
}

function isSkipped(t: TestContext): boolean {
  if (missing !== undefined) t.skip(missing)
  return missing !== undefined
}
