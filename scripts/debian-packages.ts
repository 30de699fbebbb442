import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from '../src/os/find-program.ts'
import { here, runProgram } from './place.ts'
import { nothingCounted, type Counts } from './counts.ts'
import { unpackNewer, type NewerProgram, type NewerTree } from './newer-package.ts'

/** Program on the path, or folder of a package. */
interface Needed {
  readonly name: string
  readonly program?: string
  readonly folder?: string
  readonly for: string
}

/** Program or tree of a later suite, put beside the system. */
type Newer = (NewerProgram | NewerTree) & {
  /** Program on the path in its place. */
  readonly instead?: string
  /** File without which its folder does not count. */
  readonly main?: string
  readonly isForAmd64?: boolean
  readonly missing: string
}

/** Packages beyond npm for walls, browser tests and completion tests. */
const needed: readonly Needed[] = [
  { name: 'util-linux', program: 'setpriv', for: 'the jail of every worker' },
  { name: 'util-linux', program: 'unshare', for: 'the jail of every worker' },
  { name: 'bubblewrap', program: 'bwrap', for: 'the process tier' },
  { name: 'gcc libc6-dev', program: 'cc', for: 'the sentinel of the process tier' },
  { name: 'python3', program: 'python3', for: 'programs in Python' },
  { name: 'apparmor', program: 'apparmor_parser', for: 'profiles of programs in machines' },
  ...[
    ['numpy', 'numpy'],
    ['pandas', 'pandas'],
    ['matplotlib', 'matplotlib'],
    ['pil', 'PIL'],
    ['requests', 'requests'],
  ].map(([name, module]) => ({
    name: `python3-${name}`,
    folder: `/usr/lib/python3/dist-packages/${module}`,
    for: 'tests of Python programs',
  })),
  { name: 'chromium', program: 'chromium', for: 'the browser tests' },
  { name: 'firefox-esr', program: 'firefox-esr', for: 'the browser tests' },
  { name: 'podman', program: 'podman', for: 'the container image and the container tier' },
  { name: 'runc', program: 'runc', for: 'containers on control groups of version 1' },
  { name: 'uidmap', program: 'newuidmap', for: 'rootless containers' },
  { name: 'fuse-overlayfs', program: 'fuse-overlayfs', for: 'rootless containers' },
  { name: 'mmdebstrap', program: 'mmdebstrap', for: 'the base of the container image' },
  { name: 'zsh', program: 'zsh', for: 'the completion tests' },
  { name: 'fish', program: 'fish', for: 'the completion tests' },
]

/** Older suites have a release that cannot run without ptrace; later ones crash in one start of four. */
const runsc: Newer = {
  name: 'runsc',
  suite: 'trixie',
  file: 'usr/bin/runsc',
  to: '/usr/local/lib/mayfly/runsc',
  instead: 'runsc',
  missing: '"runsc" for the gvisor tier: install runsc of Debian 13 (trixie)',
}

/** Names of libraries without "lib": those of QEMU, and theirs. */
const libraries =
  'aio1t64 atomic1 blkid1 bpf1 c6 cap2 capstone5 daxctl1 elf1t64 fdt1 ffi8 fuse3-4 glib2.0-0t64 gmp10 gnutls30t64 \
hogweed6t64 ibverbs1 idn2-0 jpeg62-turbo kmod2 mount1 ndctl6 nettle8t64 nl-3-200 nl-route-3-200 numa1 p11-kit0 \
pcre2-8-0 pixman-1-0 pmem1 png16-16t64 rdmacm1t64 sasl2-2 seccomp2 selinux1 slirp0 ssl3t64 tasn1-6 udev1 unistring5 \
uring2 uuid1 vdeplug2t64 zstd1'

/**
 * Beside the system, for amd64: Debian 12 has 7.2, which writes to the memory file of a template. It starts by the loader in
 * `lib`, with `--library-path` and `-L` of the folders here. 23 MB to download, 65 MB on the disk.
 */
const qemu: Newer = {
  packages: [
    'qemu-system-x86',
    'qemu-system-data',
    'seabios',
    'zlib1g',
    ...libraries.split(' ').map((name) => `lib${name}`),
  ],
  suite: 'trixie',
  files: {
    '.': 'usr/bin/qemu-system-x86_64',
    lib: 'usr/lib/x86_64-linux-gnu/*.so*',
    share: 'usr/share/{seabios/bios-256k,qemu/kvmvapic,qemu/linuxboot_dma,qemu/pvh}.bin',
  },
  to: '/usr/local/lib/mayfly/qemu',
  instead: 'qemu-system-x86_64',
  main: 'qemu-system-x86_64',
  isForAmd64: true,
  missing: '"qemu-system-x86_64" for machines: install qemu-system-x86 of Debian 13',
}

/** Beside the system, for amd64: 3.0 of Debian 12 knows no rule on user namespaces. It reads profiles, and loads none. */
export const apparmor: Newer & NewerTree = {
  packages: ['apparmor', 'libapparmor1', 'libc6', 'libstdc++6', 'libgcc-s1'],
  suite: 'trixie',
  files: {
    '.': 'usr/sbin/apparmor_parser',
    lib: 'usr/lib/x86_64-linux-gnu/*.so*',
    abi: 'etc/apparmor.d/abi/*',
    tunables: 'etc/apparmor.d/tunables/*',
  },
  to: '/usr/local/lib/mayfly/apparmor',
  isForAmd64: true,
  missing: '"apparmor_parser" for the profile of AppArmor: install apparmor of Debian 13',
}

/** Beside the system, for amd64: 6.1 of Debian 12 dies at its first program. 38 MB to download, 16 MB on the disk. */
const userKernel: Newer = {
  packages: ['user-mode-linux', 'libc6', 'libgcc-s1'],
  suite: 'forky',
  files: {
    '.': 'usr/bin/linux.uml',
    lib: 'usr/lib/x86_64-linux-gnu/{ld-linux-x86-64,libc,libgcc_s}.so.*',
    modules: 'usr/lib/uml/modules/*/kernel/fs/{erofs/erofs,overlayfs/overlay}.ko',
  },
  to: '/usr/local/lib/mayfly/user-mode-linux',
  isForAmd64: true,
  missing: '"linux.uml" for the userkernel tier: install user-mode-linux of Debian 14',
}

/** Without what its package depends on: sixty packages of Go sources. */
const dockerProfile: Newer = {
  packages: ['golang-github-docker-docker-dev'],
  suite: 'trixie',
  files: {
    '.': 'usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json',
  },
  to: '/usr/local/lib/mayfly/docker-seccomp',
  missing: "Docker's default seccomp profile: unpack golang-github-docker-docker-dev of Debian 13",
}

/** Beside the system, for amd64, so that no daemon of it is started: 62 MB to download, 135 MB on the disk. */
const docker: Newer = {
  packages: ['docker.io', 'containerd'],
  suite: 'bookworm',
  files: { '.': 'usr/{sbin/dockerd,bin/{docker,containerd,containerd-shim-runc-v2}}' },
  to: '/usr/local/lib/mayfly/docker',
  instead: 'dockerd',
  main: 'dockerd',
  isForAmd64: true,
  missing: '"dockerd" for containers of Docker: install docker.io of Debian 12',
}

/**
 * Installs missing packages if possible: as root or with passwordless sudo, and apt-get. Otherwise lists them, and
 * dependent tests are skipped with a reason; with `CI=true` each missing package is a failure.
 */
export async function installDebianPackages(): Promise<Counts> {
  const missing = needed.filter((one) => !isThere(one))
  if (missing.length > 0) await install([...new Set(missing.map((one) => one.name))])
  let failed = 0
  for (const one of [runsc, qemu, userKernel, apparmor, dockerProfile, docker])
    if (!(await isUnpacked(one)) && mayUnpack(one)) failed += 1
  const still = needed.filter((one) => !isThere(one))
  for (const { name, program, folder, for: why } of still)
    console.log(`Missing: "${program ?? folder}" for ${why}: apt-get install ${name}`)
  if (process.env['CI'] !== 'true') return nothingCounted
  return { ...nothingCounted, failed: failed + still.length }
}

async function install(names: readonly string[]): Promise<void> {
  const asRoot = await rootCommand()
  if (!asRoot || !isOnPath('apt-get')) return
  console.log(`Installing ${names.join(', ')}`)
  const get = [...asRoot, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq']
  await runProgram(here, [...get, 'update'])
  const packages = names.flatMap((name) => name.split(' '))
  await runProgram(here, [...get, 'install', '-y', '--no-install-recommends', ...packages])
}

async function isUnpacked(one: Newer): Promise<boolean> {
  const { to, main = '', instead } = one
  if ((instead && isOnPath(instead)) || existsSync(join(to, main))) return true
  if (mayUnpack(one) && (await unpackNewer(one))) return true
  console.log(`Missing: ${one.missing}`)
  return false
}

function mayUnpack({ isForAmd64 = false }: Newer): boolean {
  return mayInstallRunsc() && (!isForAmd64 || process.arch === 'x64')
}

/** True where this run may put it beside the system, as root alone. Elsewhere the tests of that tier are skipped. */
export function mayInstallRunsc(): boolean {
  return process.getuid?.() === 0 && isOnPath('apt-get')
}

async function rootCommand(): Promise<readonly string[] | undefined> {
  if (process.getuid?.() === 0) return []
  const sudo = ['sudo', '-n']
  return isOnPath('sudo') && (await runProgram(here, [...sudo, 'true'])) ? sudo : undefined
}

function isThere({ program, folder }: Needed): boolean {
  return program === undefined ? existsSync(folder ?? '') : isOnPath(program)
}

function isOnPath(program: string): boolean {
  return findProgram(program) !== undefined
}
