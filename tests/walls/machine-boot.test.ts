import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { MayflyError } from '../../src/contract/error.ts'
import { buildImage } from '../../src/images/build.ts'
import { machineBoot } from '../../src/images/machine.ts'
import { openPackageCache, packageFolder } from '../../src/images/package-cache.ts'
import { ownMakers, ownRecipes } from '../../src/images/recipe.ts'
import { openImageStore } from '../../src/images/store.ts'
import { whyNoneBuilt } from '../fixtures/buildable.ts'
import { PlayedMachine, qemuCommand } from '../fixtures/machine.ts'
import { drawn } from '../fixtures/drawn.ts'
import { playedSigner } from '../fixtures/images.ts'

/** Images of the store, booted by an emulator. */
const program = await openOwnProgram('agent')
const root = mkdtempSync(join(tmpdir(), 'mayfly-machine-'))
const store = join(root, 'images')
const signer = playedSigner()
after(() => rmSync(root, { recursive: true, force: true }))

const programs = drawn(
  [
    {
      image: 'python',
      args: ['python3', '-c', 'import sys, os; print(sys.version_info.major, os.getuid())'],
      said: '3 1000\n',
    },
    {
      image: 'node',
      args: ['node', '-e', 'console.log(process.version.slice(0, 3), process.getuid())'],
      said: 'v26 1000\n',
    },
  ],
  'images',
  2,
)
const someImage = programs[0]!.image
const reason = await whyNoBoot()

suite('A machine that boots an image of the store', { skip: reason }, () => {
  for (const { image, args, said } of programs)
    test(`"${image}" boots, takes a claim with every step done, runs its program, leaves no process after a kill, and powers off`, async () => {
      await using machine = await PlayedMachine.boot(bootOf(image))
      const abilities = ['limits-memory', 'counts-tasks', 'watches', 'zones']
      const hello = { kind: 'hello', inputBytes: 65_536, abilities }
      assert.deepEqual(machine.messages[0], hello, machine.console)
      const seed = randomBytes(32)
      const timeNs = 1_900_000_000_000_000_000n
      const hostname = 'clone-1'
      const bounds = { limits: {}, memory: undefined }
      machine.send({ kind: 'claim', id: 'job-1', seed, timeNs, ...bounds, hostname, labels: {} })
      const { digest, bootId, steps } = await machine.find('claimed')
      assert.deepEqual(digest, createHash('sha256').update(seed).update(bootId).digest())
      assert.match(bootId, /^[0-9a-f-]{36}$/)
      assert.notEqual(bootId, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
      assert.deepEqual(new Set(Object.values(steps)), new Set([0]), JSON.stringify(steps))
      const { clock, entropy, reseed } = steps
      assert.deepEqual([clock, entropy, reseed], [0, 0, 0])
      const asked =
        'hostname; date +%Y; cat /proc/sys/kernel/io_uring_disabled; ls /dev; ls -d /modules /init'
      const facts = (await machine.outputOf(asked)).split('\n').filter(Boolean)
      const devices = 'fd full null ptmx pts random shm stderr stdin stdout tty urandom zero'
      assert.deepEqual(facts, ['clone-1', '2030', '2', ...devices.split(' ')])
      const user = { uid: 1000, gid: 1000, folder: '/work', file: `/usr/bin/${args[0]}`, args }
      assert.equal(await machine.outputOf('', user), said, machine.complaint)
      const written =
        'echo x > /work/file && echo x > /tmp/file && cat /work/file; echo x > /usr/x || echo closed'
      assert.match(await machine.outputOf(written, { uid: 1000, gid: 1000 }), /^x\nclosed\n$/)
      await machine.run('setsid sleep 1000 & sleep 1000')
      const nonce = machine.nonce()
      machine.send({ kind: 'kill', nonce })
      assert.equal((await machine.find('killed', (one) => one.nonce === nonce)).mayBeLeft, false)
      const status = machine.nonce()
      machine.send({ kind: 'status', nonce: status })
      assert.equal((await machine.find('statused', (one) => one.nonce === status)).count, 0)
      machine.socket.end()
      assert.equal(await machine.ended, 0)
      // A panic restarts the machine, by which QEMU ends with 0 as well.
      assert.match(machine.console, /reboot: Power down/)
    })

  test('A disk without an image ends the boot with the step that failed', async () => {
    const boot = bootOf(someImage)
    const image = join(root, 'no-image')
    writeFileSync(image, Buffer.alloc(2 ** 20))
    await using machine = await PlayedMachine.boot({ ...boot, image })
    assert.deepEqual(machine.messages[0], { kind: 'lost', code: 24 })
    assert.equal(await machine.ended, 0)
  })
})

suite('Parts of a boot', { skip: reason }, () => {
  test('An initrd made again has the same bytes, and the key of a boot changes with the rate of its clock', () => {
    const boot = bootOf(someImage)
    const again = bootOf(someImage)
    assert.deepEqual(again, boot)
    const bytes = readFileSync(boot.initrd)
    assert.equal(createHash('sha256').update(bytes).digest('hex'), boot.digests.initrd)
    assert.notEqual(machineBoot({ ...partsOf(someImage), tscKhz: 1_234_567 }).key, boot.key)
  })

  test('Attack: a kernel or an initrd modified on disk is written anew', () => {
    const { initrd, kernel } = bootOf(someImage)
    const [own, size] = [readFileSync(initrd), statSync(kernel).size]
    rmSync(initrd)
    rmSync(kernel)
    writeFileSync(initrd, Buffer.alloc(own.length))
    writeFileSync(kernel, 'x')
    bootOf(someImage)
    assert.deepEqual([readFileSync(initrd).equals(own), statSync(kernel).size], [true, size])
  })

  test('A wrong key, an image in place of a kernel, and a dynamically linked agent are refused', () => {
    const parts = partsOf(someImage)
    const refused = [
      [{ ...parts, key: playedSigner().publicKey }, 'IMAGE_BROKEN'],
      [{ ...parts, kernel: someImage }, 'INVALID'],
      [{ ...parts, image: 'kernel' }, 'INVALID'],
      [{ ...parts, agent: readFileSync('/bin/ls') }, 'INVALID'],
      [{ ...parts, agent: Buffer.from('#!/bin/sh') }, 'INVALID'],
    ] as const
    for (const [given, code] of refused)
      assert.throws(
        () => machineBoot(given),
        (error) => error instanceof MayflyError && error.code === code,
      )
  })
})

function partsOf(image: string) {
  assert.ok(!('missing' in program))
  return { store, key: signer.publicKey, image, agent: readFileSync(program.file) }
}

function bootOf(image: string) {
  return machineBoot(partsOf(image))
}

/** Builds kernel and images; the reason why nothing can be booted here, or false. */
async function whyNoBoot(): Promise<string | false> {
  if ('missing' in program) return program.missing
  if (!qemuCommand()) return 'QEMU is not installed'
  using opened = openImageStore(store)
  const parts = {
    recipes: ownRecipes,
    makers: ownMakers,
    store: opened,
    cache: openPackageCache(packageFolder()),
    signer,
    tags: [],
    now: Date.now,
    note: () => undefined,
  }
  const names = ['kernel', ...programs.map(({ image }) => image)]
  try {
    for (const name of names) await buildImage({ ...parts, name })
    return false
  } catch (error) {
    const reason = whyNoneBuilt(names, error)
    if (reason === undefined) throw error
    return reason
  }
}
