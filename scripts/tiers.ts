/**
 * Writes docs/tiers/*.md from the declarations of each provider and from the conformance suite: what a wall
 * enforces, tightens and cannot do. `node scripts/tiers.ts`; with `--check` it writes nothing and exits 1 if a page
 * is out of date.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import type { Provider } from '../src/contract/provider.ts'
import { strengthOf } from '../src/contract/tier.ts'
import { createContainerProvider } from '../src/tiers/container/provider.ts'
import { createGvisorProvider } from '../src/tiers/gvisor/provider.ts'
import { createFirecrackerProvider } from '../src/tiers/firecracker/provider.ts'
import { createQemuProvider } from '../src/tiers/microvm/provider.ts'
import { createUserKernelProvider } from '../src/tiers/userkernel/provider.ts'
import { createIsolateProvider } from '../src/tiers/isolated-vm/provider.ts'
import { createMockProvider } from '../src/tiers/mock/provider.ts'
import { createProcessProvider } from '../src/tiers/process/provider.ts'
import { jailKinds } from '../src/contract/jail-kind.ts'
import { createSeatbeltProvider } from '../src/tiers/seatbelt/provider.ts'
import { createWasiProvider } from '../src/tiers/wasi/provider.ts'
import { Client } from '../src/walls/client.ts'
import type { Guests } from '../tests/conformance/guests.ts'
import { inNode } from '../tests/conformance/guests-of-programs.ts'
import { inWasm } from '../tests/conformance/guests-in-wasm.ts'
import { inJs, tableFor } from '../tests/conformance/suite.ts'

interface Page {
  readonly provider: Provider
  readonly about: string
  /** Known gaps that no test can show. */
  readonly notStopped: readonly string[]
  /** Environments in which the conformance suite runs. */
  readonly runs: readonly string[]
  /** Controls and what closes each while a guest runs, where the declarations do not say it. */
  readonly tightening?: readonly TighteningRow[]
  /** Guests of a provider that does not run JavaScript. */
  readonly guests?: Guests
}

interface TighteningRow {
  readonly control: string
  /** How it is closed, or why it is not. */
  readonly closed: string
  /** Part that holds it. */
  readonly by: string
}

/** Tightening of a wall whose guest has an agent; `holder` is the process that holds the guest. */
function agentTightening(
  holder: string,
  { hasGroups, hasProfile }: { readonly hasGroups: boolean; readonly hasProfile: boolean },
): readonly TighteningRow[] {
  const host = 'this machine'
  const guest = "the guest's kernel"
  return [
    {
      control: '`network`, `capabilities`',
      closed: 'connections are cut and calls refused, outside of the guest',
      by: host,
    },
    {
      control: '`memory`',
      closed: `the control group of ${holder} is lowered; without one a watch ends the wall`,
      by: host,
    },
    {
      control: '`cpu`',
      closed: `the quota of ${holder}, or stops of the guest where there is none`,
      by: host,
    },
    {
      control: '`memory` and scratch together',
      closed: hasGroups
        ? 'the control group of the runner and its children is lowered; above it the kernel ends all of them, which is believed if this machine saw its process grow by half of the limit'
        : 'not closed: its kernel has no controller for memory',
      by: hasGroups ? guest : 'none',
    },
    {
      control: '`processes`, and `syscalls`: `process`',
      closed:
        'RLIMIT_NPROC of each process and `pids.max` of their control group are lowered, for the class to 0',
      by: guest,
    },
    {
      control: '`syscalls`: `write`',
      closed:
        'all that programs may write to becomes read-only, but for the file of the result; a process that holds a file open for writing, or mapped so, is killed',
      by: guest,
    },
    {
      control: '`syscalls`: `exec`, `network`, `outside`',
      closed: hasProfile
        ? 'the profile of AppArmor is replaced by one without their rules, which holds at once, for open sockets too; without `apparmor_parser` it is `control/unenforced`'
        : 'not closed: its kernel has no AppArmor, and a phase that closes one is `control/unenforced`',
      by: hasProfile ? guest : 'none',
    },
    {
      control: '`files`',
      closed:
        'nothing to close: a guest is given no folder of this machine, and a job that asks for one gets another wall',
      by: host,
    },
    ioRow(holder),
  ]
}

/** Request by which the disk of a guest is limited. */
const diskRequests: Readonly<Record<string, string>> = {
  QEMU: '`block_set_io_throttle`',
  Firecracker: '`PATCH /drives/root`',
}

function ioRow(holder: string) {
  const request = diskRequests[holder]
  if (!request)
    return { control: '`io`', closed: 'not closed: files that it writes are memory', by: 'none' }
  return {
    control: '`io`',
    closed: `bytes a second that the guest reads of its one disk, the image, are lowered (${request}), and read back; files that it writes are its memory`,
    by: 'this machine',
  }
}

const noSpares = () => ({
  take: () => Promise.reject(new Error('nobody')),
  keep: () => undefined,
  close: async () => {},
})
/** Stub warden: only the provider's declarations are read. */
const nobody = new Client(
  () => {},
  () => Promise.resolve(),
)

/** Bounds that no wall of programs, or none with a kernel of its own, enforces: sentences of several pages. */
const sideChannels =
  "spying by time, or by what the processor's caches hold, on whatever shares a core"
const grantedNetwork = 'what a job that was granted a network sends there'
const guestMemory = `a guest whose kernel was broken into from taking its scratch and 192 MiB more of this machine than the limit of its job; until
  then its kernel ends the job at its limit and its scratch`
const guestProcesses =
  'a guest that broke its own kernel from having more processes than its job may, in memory and time of that job'

/** Parts of a provider whose walls are never started here. */
const unused = {
  warden: nobody,
  emitter: { emit() {} },
  warm: noSpares,
  least: 0,
  most: 0,
  openEgressPath: () => Promise.reject(new Error('nobody')),
}

const aboutJailKind = {
  bubblewrap: `Any Linux program in namespaces made by bubblewrap, a small launcher that many depend on and watch. It starts
each program by an exec, those in Python too: none is forked from a template.`,
  embedded: `Any Linux program in namespaces made with nothing installed: \`unshare\` of util-linux, then Landlock and a
seccomp filter that the launcher loads into itself before it becomes the program. Programs in Python are forked from a warm
template where many are asked for, and carry out the same steps themselves ([0035](../decisions/0035-python-template.md)).`,
} as const

const pages: readonly Page[] = [
  {
    provider: createIsolateProvider({
      warden: nobody,
      emitter: { emit() {} },
      spares: 0,
      wallsMax: 0,
      openEgressPath: () => Promise.reject(new Error('nobody')),
      openFolders: () => Promise.reject(new Error('nobody')),
    }),
    about: `V8 isolates in worker processes. The isolate keeps one job's objects from the host's and from those of the job
before; it is not trusted to keep memory, time or a broken V8. That is what the process around it is for: a jailed
worker for one tenant alone, held to its memory and its time from outside, and killed.`,
    notStopped: [
      `a hole in V8, which is code execution in the worker: then seccomp, the empty root, the network namespace and the
  uid of its own are what holds`,
      `a hole in the kernel that can be reached by the few system calls a warm worker has`,
      `one job of a tenant from spying on another job of the same tenant by time or by what the worker's processor
  caches hold; two tenants never share a worker, but they may share a core`,
      `what a job that was granted a capability does with it`,
    ],
    runs: [
      'in the best jail this machine gives',
      'as an ordinary user, without memory cgroup and without a uid of its own',
      'without namespaces',
      'in bubblewrap, where it is installed',
    ],
  },
  {
    provider: createWasiProvider({ warden: nobody, emitter: { emit() {} }, wallsMax: 0 }),
    about: `WebAssembly modules in worker processes like those of \`isolated-vm\`. Each job gets an instance of its own, of a
module that is compiled once by the hash of its bytes; it reaches its own memory and the functions of WASI preview 1
that need no files and no network. Those are written in JavaScript, because Node's own write to real descriptors, of
which a jailed worker has none to give. Before it is compiled a module's memory is given a maximum, so that growing past
the limit of the job fails. V8 has no fuel: time is kept, and the process killed, from outside.
With \`limits.instructions\` a module is rewritten so that it counts its instructions and traps beyond them: the count is
\`metrics.instructions\`, the same in each run. It costs up to 4 times in code that is calls alone, so it is off unless asked for;
what counts how is in [0029](../decisions/0029-counted-instructions.md).

What is there of WASI: standard input (the job's input as JSON) and both output streams, descriptor 3 for the result,
clocks that step by whole milliseconds, random numbers, sleeping, leaving. The only argument is a name, \`main.wasm\`; there is no environment.
Every call that names a path or a socket answers that it may not; threads, and imports from anywhere else, are refused
by name. \`tests/walls/wasm.test.ts\` breaks these one by one.`,
    notStopped: [
      `a hole in V8, which is code execution in the worker: then seccomp, the empty root, the network namespace and the
  uid of its own are what holds`,
      `a hole in the kernel that can be reached by the few system calls a warm worker has`,
      `one job of a tenant from spying on another job of the same tenant by time or by what the worker's processor
  caches hold, or from learning by time that the same module ran before; two tenants never share a worker`,
    ],
    runs: ['in the best jail this machine gives', 'as an ordinary user, without memory cgroup'],
    guests: inWasm.guests,
  },
  ...jailKinds.map((jailKind) => ({
    provider: createProcessProvider({
      ...unused,
      jailKind,
      openFolders: () => Promise.reject(new Error('nobody')),
    }),
    about: `${aboutJailKind[jailKind]}

A program is started before it is asked for, parked once it has run a dummy job, held to one job's bounds, and its whole
process tree killed after it. It sees this machine's \`/usr\` read-only, Node, a scratch folder of a fixed size, devices
that give nothing away, and the processes of its own namespace. It has no network but the proxy, where one was granted.
The filter is an allow list: \`policies/seccomp/process.json\` has a reason on each line.

Where there is a C compiler the wall has a sentinel, which answers calls by the phase: then it also closes \`files\` and
\`syscalls\` while a guest runs, where its schedule does, and its memory can be captured.`,
    notStopped: [
      `a hole in the kernel that can be reached by the system calls on that list, which are more than an isolate's worker has`,
      `learning about this machine: the kernel's version, the processor, what is installed below \`/usr\``,
      sideChannels,
      grantedNetwork,
      ...(jailKind === 'bubblewrap'
        ? []
        : [
            'a hole in `unshare` of util-linux, which makes the namespaces',
            'knowing the layout of addresses and the hash seed of other programs in Python of the same minute, which one template forked (`fresh = true` in the configuration does)',
          ]),
    ],
    runs: [
      'in each of its languages, in the best jail this machine gives',
      'as an ordinary user, without memory cgroup and without a uid of its own',
    ],
    guests: { ...inNode.guests, ...inJs.guests },
  })),
  {
    provider: createSeatbeltProvider(unused),
    about: `Programs of Node on macOS, each one process under a generated profile of Seatbelt, by \`sandbox-exec\`. **It was never run on
macOS by its makers**: the proof at its first use decides there, and \`missing\` says so. The profile denies by default, and allows one program, its
files, the folder of the job and signals to itself. It starts no process and has no network. On macOS \`isolated-vm\` and \`wasi\` have such a wall too.`,
    notStopped: [
      `a hole in the kernel or in Seatbelt`,
      `more memory, CPU time and disk than its limits for 200 ms and longer, because they are sampled`,
      `learning about this machine: its name, processor and version, the names of the folders above its own, whether a path exists`,
      sideChannels,
    ],
    runs: ['on Linux, which plays `sandbox-exec` by Landlock and seccomp'],
    guests: { ...inNode.guests, ...inJs.guests },
  },
  ...(['podman', 'docker'] as const).map((name) => ({
    provider: createContainerProvider(name, unused),
    about: `Any Linux program in a container of ${name === 'podman' ? 'Podman' : 'Docker'}, by the API on its socket: without network and capabilities, with a
read-only root that shows this system's folders, the engine's seccomp profile and Mayfly's own filter. One container a job, parked and
waiting. Process 1 is Mayfly's: it connects the program to the warden, and ends with it. Nothing is pulled; the image has no file.
${name === 'podman' ? 'Tried with rootless Podman 4.3 alone.' : 'Tried with Docker 20.10 as root, with its seccomp profile; never with its AppArmor profile, and not rootless.'}`,
    notStopped: [
      `a hole in this machine's kernel, or in the engine, whose user starts the container`,
      sideChannels,
      `learning what is installed below \`/usr\` of this machine`,
      grantedNetwork,
      `who reaches the engine's socket: that is its user's account, or root's. No wall has it`,
    ],
    runs: name === 'podman' ? ['in each of its languages, rootless'] : ['with Podman in its place'],
    guests: { ...inNode.guests, ...inJs.guests },
  })),
  {
    provider: createGvisorProvider(unused),
    about: `Any Linux program on gVisor's kernel in user space, by \`runsc\` with its systrap platform. The program's system
calls are answered by that kernel (the sentry), an ordinary process of a uid of its own in a user namespace, behind
runsc's own seccomp filter; this machine's kernel sees the sentry's calls alone. One sentry a job, parked and waiting.

Root and ordinary users start it the same way, \`--rootless\`. Files of this machine are those of the process tier. The
network is the sentry's own loopback; a granted network goes over one unix socket to the proxy. A capture is a checkpoint:
all memory and scratch, without connections and what is on its way.`,
    notStopped: [
      `a hole in the sentry together with one in this machine's kernel that its filter leaves open`,
      sideChannels,
      `learning what is installed below \`/usr\` of this machine`,
      grantedNetwork,
      `more scratch than was granted: each of its folders alone is bounded by the grant, and all of them by the memory of
  the wall`,
    ],
    runs: [
      'in each of its languages, as root',
      'in Python without cgroups and without a uid of its own',
    ],
    guests: { ...inNode.guests, ...inJs.guests },
  },
  {
    provider: createUserKernelProvider(unused),
    about: `Any Linux program on a Linux kernel of its own that is a process of this machine, by user-mode-linux 7.2: an image of the
store as its root, and Mayfly's agent as process 1. The kernel is jailed like a hostile program: a uid of its own as root,
namespaces, no capability, no network, an allow list of system calls. It needs neither KVM nor an emulator: a guest boots in half
a second of processor time, a loop costs it 1.4 times what it costs outside, and a system call costs it some 15 microseconds.

It needs user-mode-linux unpacked in /usr/local/lib/mayfly, ptrace, bubblewrap, a C compiler with a static libc, and images:
\`mayfly images build node python\`. Programs see the image, not this machine: \`sh\` is that of busybox, and there is no \`bash\`.`,
    tightening: agentTightening('the kernel', { hasGroups: false, hasProfile: false }),
    notStopped: [
      `a hole in the guest's kernel together with one in this machine's that the calls of its jail reach: no processor divides
  the two`,
      sideChannels,
      grantedNetwork,
      `a job from taking 192 MiB more of this machine than its limit, which are for cached files of the image`,
    ],
    runs: [
      'in each of its languages, as root',
      'in Python without cgroups and without a uid of its own',
    ],
    guests: { ...inNode.guests, ...inJs.guests },
  },
  {
    provider: createFirecrackerProvider(unused),
    about: `Any Linux program in a virtual machine of its own, by Firecracker: Debian's guest kernel, an image of the store as its root, and
Mayfly's agent as process 1. Each job has a clone that is loaded from the snapshot of a machine in which a runner waits. Firecracker's own
jailer jails it: chroot, a uid of its own, a new pid namespace, its seccomp filters. The machine has five devices (disk, vsock, entropy,
balloon, a keyboard controller for its end) and no network card; a granted network goes over the vsock to the proxy.

**Tested against a played Firecracker only.** No release of it and no usable KVM could be had where Mayfly is built: a program in its place
holds each request against Firecracker's API document and runs the real agent, carrier and runner as processes. No figure of it is known.

It needs root, \`/dev/kvm\`, \`firecracker\` and \`jailer\` of one release in PATH (1.14.4, or 1.15.1 and later, but for 1.16.0 and 1.16.1),
/srv/jailer on a file system without \`noexec\` and \`nodev\`, a C compiler with a static libc, \`apparmor_parser\` for the profile around its
programs, and images: \`mayfly images build kernel node python\`. The first boot is the proof that it works here; where one of these is missing or
that boot fails, the provider is unavailable with the cause. Where QEMU works as well, the tier \`microvm\` is QEMU, which lacks less; a job
names this provider. Programs see the image, not this machine: \`sh\`
is that of busybox, and there is no \`bash\`.`,
    tightening: agentTightening('Firecracker', { hasGroups: true, hasProfile: true }),
    notStopped: [
      `a hole in Firecracker's devices or in KVM together with one in this machine's kernel that Firecracker's filter leaves open`,
      sideChannels,
      grantedNetwork,
      guestMemory,
      guestProcesses,
    ],
    runs: ['in each of its languages in the long run, a few in each run, on a played Firecracker'],
    guests: { ...inNode.guests, ...inJs.guests },
  },
  {
    provider: createQemuProvider(unused),
    about: `Any Linux program in a virtual machine of its own, by QEMU: Debian's guest kernel, an image of the store as its root, and
Mayfly's agent as process 1. QEMU is jailed like a hostile program: a uid of its own as root, namespaces, no capability, no
network, one folder to write to, its own seccomp filter. The machine has no network card; a granted network goes over
the job's one channel to the proxy. Without a KVM that boots (a probe tries it) QEMU emulates, and code is 9 to 20 times slower.

It needs QEMU 8.2 or newer, bubblewrap, a C compiler with a static libc, \`apparmor_parser\` for the profile around its programs, and images: \`mayfly images build kernel node python\`.
Programs see the image, not this machine: \`sh\` is that of busybox, and there is no \`bash\`. What a guest says of itself decides
nothing: memory, time and the end of a wall are those of this machine's kernel.`,
    tightening: agentTightening('QEMU', { hasGroups: true, hasProfile: true }),
    notStopped: [
      `a hole in QEMU's devices or its emulation together with one in this machine's kernel: its jail is namespaces and
  a deny list of calls`,
      sideChannels,
      grantedNetwork,
      guestMemory,
      guestProcesses,
    ],
    runs: ['in each of its languages in the long run, a few in each run'],
    guests: { ...inNode.guests, ...inJs.guests },
  },
  {
    provider: createMockProvider(),
    about: `It runs no code at all: it answers from a script. It is there to try everything around a wall, is reached by its
name alone, has strength 0, and is refused where \`MAYFLY_ENV\` says \`production\`.`,
    notStopped: ['anything: there is nothing behind it to stop'],
    runs: ['with a script that plays the guests of the life cycle'],
  },
]

/** Renders the page of one wall. */
export function page({ provider, about, notStopped, runs, tightening = [], guests }: Page): string {
  const table = tableFor(provider, guests)
  const held = table.filter(({ skipped }) => skipped === undefined)
  const skipped = table.filter(({ skipped }) => skipped !== undefined)
  return `# \`${provider.name}\`

This page is written by \`node scripts/tiers.ts\` from what the provider declares and from the conformance suite.

${about}

| | |
|---|---|
| tier | \`${provider.tier}\`, strength ${strengthOf[provider.tier]} at most |
| languages | ${words(provider.languages)} |
| enforces | ${words(provider.enforces)} |
| closes while a guest runs | ${words(provider.tightens)} |
| has only from the start | ${words(provider.enforces.filter((name) => !provider.tightens.includes(name)))} |
| can | ${words(provider.can)} |

${tighteningOf(tightening)}## What it does not stop

${notStopped.map((what) => `- ${what}`).join('\n')}

## What holds

Each sentence is a test of \`tests/conformance/suite.ts\`, run ${runs.join('; ')}.

${chapters(held).join('\n\n')}

## What is not tried, and why

${skipped.length > 0 ? skippedTable(skipped) : 'Nothing.'}
`
}

function tighteningOf(rows: readonly TighteningRow[]): string {
  if (rows.length === 0) return ''
  const lines = rows.map(({ control, closed, by }) => `| ${control} | ${closed} | ${by} |`)
  return `## What a phase closes

What the guest's kernel holds is told with the trust \`guest\`: root in the guest, or a hole in its kernel, undoes it.

| control | how it is closed while a guest runs | held by |
|---|---|---|
${lines.join('\n')}

`
}

type Row = ReturnType<typeof tableFor>[number]

function chapters(rows: readonly Row[]): readonly string[] {
  return [...Map.groupBy(rows, ({ chapter }) => chapter)].map(
    ([chapter, cases]) =>
      `### ${chapter}\n\n${cases.map((row) => `- ${row.case.title}`).join('\n')}`,
  )
}

function skippedTable(rows: readonly Row[]): string {
  const lines = rows.map((row) => `| ${row.case.title} | it ${row.skipped} |`)
  return `| case | because |\n|---|---|\n${lines.join('\n')}`
}

function words(names: readonly string[]): string {
  return names.length === 0 ? 'nothing' : names.map((name) => `\`${name}\``).join(', ')
}

if (import.meta.main) {
  const isCheck = process.argv.includes('--check')
  for (const one of pages) {
    const file = new URL(`../docs/tiers/${one.provider.name}.md`, import.meta.url)
    if (!isCheck) writeFileSync(file, page(one))
    else if (readFileSync(file, 'utf8') !== page(one)) {
      console.error(`docs/tiers/${one.provider.name}.md is not what node scripts/tiers.ts writes`)
      process.exitCode = 1
    }
    await one.provider.close?.()
  }
}
