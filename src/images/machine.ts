import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { replaceFile } from '../lib/replace-file.ts'
import { archiveOf, fileEntry, filesOfArchive, folderEntry, type ArchiveEntry } from './archive.ts'
import { hostTscKhz } from './host-tsc.ts'
import { unpackedKernel } from './unpacked-kernel.ts'
import { fileDigest, findImage, whyImageBroken, type StoredImage } from './store.ts'
import { VerifiedFiles } from './verified-files.ts'

/**
 * Files that a virtual machine boots from.
 *
 * Problem: a machine needs a kernel, an initrd and a root file system with known bytes, and a template is only as
 * trustworthy as the name of its boot files.
 *
 * Mechanism: `mayfly images build kernel` stores Debian's guest kernel and its boot modules as one signed archive. The
 * initrd is made here from those modules and the compiled agent of this Mayfly: a deterministic archive. Both are
 * stored by their SHA-256 in `boot/` of the store, and hashed again before each use.
 *
 * Relies on the store's folder being writable only by its owner. Not handled: an agent from another compiler, whose
 * initrd has another digest; the machine itself, which the engine makes.
 */
export interface BootParts {
  /** Folder of the image store. */
  readonly store: string
  /** Folder of kernel and initrd by digest; by default `boot` of the store. */
  readonly folder?: string
  /** Public key of the state folder, in base64: `imageKey`. */
  readonly key: string | undefined
  /** Tag, digest or digest prefix of the image used as root. */
  readonly image: string
  /** Tag, digest or digest prefix of the kernel; by default the tag `kernel`. */
  readonly kernel?: string
  /** The compiled agent, statically linked: `openOwnProgram`. */
  readonly agent: Uint8Array
  /** Frequency of the host's time stamp counter; by default `hostTscKhz`. */
  readonly tscKhz?: number | undefined
  /** Files mounted read-only over the image, by path below its root. */
  readonly runner?: ReadonlyMap<string, RunnerFile>
  /** AppArmor profile of the runner, in the binary form that the kernel loads. */
  readonly policy?: Uint8Array
  /** Ports that programs may get, with their names for the agent. */
  readonly ports?: Readonly<Record<string, string>>
  /** Size limit of each writable tmpfs, in bytes; by default a share of the memory. */
  readonly scratchBytes?: number
}

export interface RunnerFile {
  readonly mode: 0o444 | 0o555
  readonly body: Uint8Array
}

/** Absolute paths of read-only files, and their digests. */
export interface RootBoot {
  readonly initrd: string
  readonly image: string
  readonly digests: { readonly initrd: string; readonly image: string }
}

export interface MachineBoot extends RootBoot {
  /** Key of a template: SHA-256 over the digests of kernel, initrd and image, and the arguments. */
  readonly key: string
  readonly kernel: string
  /** Digests of the three files. */
  readonly digests: RootBoot['digests'] & { readonly kernel: string }
  /** Arguments of the kernel's command line; those after `--` are for the agent. */
  readonly kernelArguments: readonly string[]
}

const KERNEL = 'kernel'
/** Name of the virtio port for the agent's channel, and path of the only disk. */
const AGENT_PORT = 'mayfly.agent'
const IMAGE_DISK = '/dev/vda'
/** Folders of the kernel's archive: modules of every boot, and those of a vsock, each with a file `order`. */
const MODULES = 'modules/'
const VSOCK_FOLDER = 'vsock/'
/** Mount points of the agent during boot. */
const mountPoints = [
  'dev',
  'groups',
  'identity',
  'image',
  'modules',
  'overlay',
  'proc',
  'root',
  'security',
  'sys',
]

/**
 * Files and arguments to boot an image of the store. The machine needs `image` as its only virtio disk, read-only; a
 * virtio serial port named `mayfly.agent` whose host end is connected within a minute; and ACPI to power off. The
 * agent is process 1 and sends `hello` on that port, or `lost` with the step that failed.
 *
 * Takes as long as hashing the image. Throws MayflyError NOT_FOUND, IMAGE_BROKEN, INVALID and STATE.
 *
 *     const boot = machineBoot({ store, key, image: 'python', agent: readFileSync(agent.file) })
 *     // -kernel boot.kernel -initrd boot.initrd -append boot.kernelArguments.join(' ') …
 */
export function machineBoot(parts: BootParts): MachineBoot {
  const { tscKhz = hostTscKhz() } = parts
  return bootOf(parts, {
    ending: 'vmlinuz',
    kernelOf: (vmlinuz) => vmlinuz,
    modulesOf: (files) => files,
    kernelArguments: argumentsOf(tscKhz, parts),
  })
}

/**
 * Files and arguments for a machine with a vsock: the agent listens on port 1, and the kernel is an unpacked ELF file. Returns only
 * the agent's arguments; the caller prepends the kernel parameters. The guest ends by a reboot. Throws as `machineBoot` does, and
 * IMAGE_BROKEN for a kernel without vsock modules, or one that cannot be unpacked.
 */
export function vsockBoot(parts: BootParts): MachineBoot {
  return bootOf(parts, {
    ending: 'vmlinux',
    kernelOf: unpackedKernel,
    modulesOf: withVsock,
    kernelArguments: [
      'boot',
      `vsock:${vsockAgentPort}`,
      IMAGE_DISK,
      'restart',
      ...agentArguments(parts),
    ],
  })
}

/** Vsock port on which the agent listens. */
export const vsockAgentPort = 1

interface BootForm {
  readonly ending: string
  /** Kernel file of a machine, from the one of the package. Throws Error. */
  readonly kernelOf: (vmlinuz: Buffer) => Buffer
  /** Files with the modules of the initrd, from those of the archive. Throws Error. */
  readonly modulesOf: (files: ReadonlyMap<string, Buffer>) => ReadonlyMap<string, Buffer>
  readonly kernelArguments: readonly string[]
}

function bootOf(
  parts: BootParts,
  { ending, kernelOf, modulesOf, kernelArguments }: BootForm,
): MachineBoot {
  const { store, key } = parts
  const stored = checked(findImage(store, parts.kernel ?? KERNEL), key, 'archive')
  const files = archiveFiles(stored)
  const vmlinuz = files.get('vmlinuz')
  if (!vmlinuz) throw broken(stored, 'it has no kernel')
  const [own, modules] = formed(stored, () => [kernelOf(vmlinuz), modulesOf(files)])
  const root = rootBoot(parts, modules)
  const kernel = keep(folderOf(parts), ending, own)
  const digests = { kernel: kernel.digest, ...root.digests }
  return {
    ...root,
    key: sha256(canonicalJson({ ...digests, kernelArguments })),
    kernel: kernel.file,
    digests,
    kernelArguments,
  }
}

function formed<T>(stored: StoredImage, form: () => T): T {
  try {
    return form()
  } catch (thrown) {
    throw broken(stored, messageOf(thrown))
  }
}

/** Adds the vsock modules after those of every boot. */
function withVsock(files: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Buffer> {
  const own = [...files].filter(([name]) => name.startsWith(VSOCK_FOLDER))
  const [order, more] = [files.get(`${MODULES}order`), files.get(`${VSOCK_FOLDER}order`)]
  if (!order || !more) throw new Error('it has no vsock modules')
  const moved = own.map(
    ([name, body]) => [MODULES + name.slice(VSOCK_FOLDER.length), body] as const,
  )
  return new Map([...files, ...moved, [`${MODULES}order`, Buffer.concat([order, more])]])
}

/**
 * Initrd and image only, for a kernel that is not in the store; `modules` are those of that kernel. Throws MayflyError
 * NOT_FOUND, IMAGE_BROKEN, INVALID and STATE.
 */
export function rootBoot(parts: BootParts, modules: ReadonlyMap<string, Uint8Array>): RootBoot {
  const image = checked(findImage(parts.store, parts.image), parts.key, undefined)
  assertStatic(parts.agent)
  const initrd = keep(folderOf(parts), 'initrd', initrdOf(parts.agent, modules, parts))
  return {
    initrd: initrd.file,
    image: image.file,
    digests: { initrd: initrd.digest, image: image.digest },
  }
}

/** Agent arguments for additional ports and its scratch space, to append to those of the boot. */
export function agentArguments({
  ports = {},
  scratchBytes,
}: Pick<BootParts, 'ports' | 'scratchBytes'>): readonly string[] {
  return [
    ...Object.entries(ports).map(([name, port]) => `port=${name}=${port}`),
    ...(scratchBytes === undefined ? [] : [`scratch=${scratchBytes}`]),
  ]
}

const folderOf = ({ folder, store }: BootParts) => folder ?? path.join(store, 'boot')

/** Archive of the agent as /init, the modules with their load order, AppArmor profile and runner. Deterministic. */
export function initrdOf(
  agent: Uint8Array,
  files: ReadonlyMap<string, Uint8Array>,
  { runner = new Map(), policy }: Pick<BootParts, 'runner' | 'policy'> = {},
): Buffer {
  const modules = [...files].filter(([name]) => /^modules\/[\w.-]+$/.test(name)).sort(byName)
  return archiveOf([
    ...mountPoints.map(folderEntry),
    fileEntry('init', 0o500, agent),
    ...modules.map(([name, body]) => fileEntry(name, 0o400, body)),
    ...(policy ? [fileEntry('policy', 0o400, policy)] : []),
    ...runnerEntries(runner),
  ])
}

/** Files below `runner`, each after its parent folders. Throws RangeError for an unsafe path. */
function runnerEntries(runner: ReadonlyMap<string, RunnerFile>): readonly ArchiveEntry[] {
  const files = [...runner].sort(byName)
  for (const [name] of files)
    if (!plainPath.test(name))
      throw new RangeError(`"${name}" is not a valid path of a runner file`)
  const folders = new Set(files.flatMap(([name]) => foldersAbove(`runner/${name}`)))
  return [
    ...[...folders].sort().map(folderEntry),
    ...files.map(([name, { mode, body }]) => fileEntry(`runner/${name}`, mode, body)),
  ]
}

/** Relative path whose names do not begin with a dot. */
const plainPath = /^[@\w][@\w.-]*(\/[@\w][@\w.-]*)*$/

function foldersAbove(file: string): readonly string[] {
  const parts = file.split('/').slice(0, -1)
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) =>
  a < b ? -1 : 1

function argumentsOf(
  tscKhz: number | undefined,
  parts: Pick<BootParts, 'ports' | 'scratchBytes'>,
): readonly string[] {
  return [
    'quiet',
    // Reboot at once on a panic: process 1 is gone, and the machine must not hang.
    'panic=-1',
    // The timer check panics if an emulated CPU gets too little time.
    'no_timer_check',
    ...(tscKhz === undefined ? [] : [`tsc_early_khz=${tscKhz}`]),
    '--',
    'boot',
    AGENT_PORT,
    IMAGE_DISK,
    ...agentArguments(parts),
  ]
}

/** Each boot with another scratch space composes anew, and must not hash gigabytes again on the warden's only thread. */
const verified = new VerifiedFiles()

function checked(
  image: StoredImage,
  key: string | undefined,
  form: 'archive' | undefined,
): StoredImage {
  const why = whyImageBroken(image, key, verified)
  if (why) throw broken(image, why)
  if (image.signed.manifest.form !== form)
    throw new MayflyError(
      'INVALID',
      `Cannot boot from "${image.signed.manifest.name}": it is not a ${form ? 'kernel' : 'file system'}`,
      { hint: 'Build both: "mayfly images build kernel python"' },
    )
  return image
}

function archiveFiles(image: StoredImage): ReadonlyMap<string, Buffer> {
  const bytes = readFileSync(image.file)
  if (sha256(bytes) !== image.digest) throw broken(image, 'its SHA-256 is wrong')
  return formed(image, () => filesOfArchive(bytes))
}

function broken({ digest }: StoredImage, why: string): MayflyError {
  return new MayflyError('IMAGE_BROKEN', `Cannot boot from image "${digest}": ${why}`, {
    hint: 'Build it again: "mayfly images build"',
  })
}

/** An initrd has no dynamic loader: an agent with PT_INTERP would cause a kernel panic. */
function assertStatic(agent: Uint8Array): void {
  const elf = Buffer.from(agent.buffer, agent.byteOffset, agent.byteLength)
  const isElf = elf.length >= 64 && elf.readUInt32BE(0) === 0x7f454c46 && elf[4] === 2
  const [at, size, count] = isElf
    ? [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)]
    : [0, 0, 0]
  const types = Array.from({ length: count }, (_, index) => {
    const header = at + index * size
    return header + 4 <= elf.length ? elf.readUInt32LE(header) : PT_INTERP
  })
  if (isElf && types.length > 0 && !types.includes(PT_INTERP)) return
  throw new MayflyError('INVALID', 'Cannot boot with this agent: it is not a static executable', {
    hint: 'It is compiled on this machine, and needs a static libc: apt-get install libc6-dev',
  })
}

const PT_INTERP = 3

/** Stores bytes by their digest; a file whose bytes changed is written again. */
function keep(
  folder: string,
  ending: string,
  bytes: Uint8Array,
): { readonly file: string; readonly digest: string } {
  const digest = sha256(bytes)
  const file = path.join(folder, `${digest}.${ending}`)
  if (existsSync(file) && fileDigest(file) === digest) return { file, digest }
  try {
    makeFolder(folder, 0o755)
    replaceFile(file, bytes, { mode: 0o444, flush: true })
    return { file, digest }
  } catch (cause) {
    throw new MayflyError('STATE', `Cannot store a boot file: ${messageOf(cause)}`, {
      hint: 'Make the image store writable for the user who starts machines',
      cause,
    })
  }
}
