import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { vsockAgentPort, type MachineBoot } from '../../../images/machine.ts'
import { AgentLink } from '../../../agent-wire/agent-link.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import type { MachineKey } from '../agent-guest/source.ts'
import { startRunner } from '../agent-guest/start-runner.ts'
import type { StartingGuests } from '../agent-guest/starting-guests.ts'
import { failure } from './api-client.ts'
import { failedStep, FirecrackerGuest } from './guest.ts'
import { placeShared } from './jail-files.ts'
import { startJailed, type FirecrackerPrograms } from './jailed-machine.ts'
import type { FirecrackerMachine } from './machine.ts'

/**
 * Boots a machine until a runner is parked in its guest.
 *
 * The first boot proves that this host can run Firecracker: being able to open /dev/kvm proves nothing. It has a deadline, and
 * its failure is the reason why the wall is unavailable.
 */
export interface BootedMachine {
  readonly machine: FirecrackerMachine
  readonly agent: AgentLink
  readonly channel: Socket
}

export interface BootedMachineParts {
  readonly programs: FirecrackerPrograms
  readonly key: MachineKey
  readonly boot: MachineBoot
  readonly takes: StartingGuests<{ kill(): void }>
  /** Whether it becomes a template. */
  readonly isTemplate: boolean
}

/** Vsock port of the job; the agent has port 1. */
export const jobVsockPort = 2
const BOOT_MS_MAX = 60_000
const CONNECT_POLL_MS = 10
/** Names in the root of a jail. */
export const jailNames = { kernel: 'vmlinux', initrd: 'initrd', rootDisk: 'root.erofs' } as const

/** Releases everything before it throws MayflyError. */
export async function bootMachine(
  { programs, key, boot, takes, isTemplate }: BootedMachineParts,
  host: GuestHost,
): Promise<BootedMachine> {
  const { memoryMiB } = key
  const machine = await startJailed(programs, host, {
    memoryMiB,
    fill(root) {
      placeShared(root, boot.kernel, jailNames.kernel)
      placeShared(root, boot.initrd, jailNames.initrd)
      placeShared(root, boot.image, jailNames.rootDisk)
    },
  })
  using _starting = takes.track({ kill: () => machine.signalKill() })
  try {
    const agentArguments = boot.kernelArguments
    await machine.boot({ memoryMiB, ...jailNames, agentArguments })
    const channel = await connectGuest(machine, vsockAgentPort, BOOT_MS_MAX)
    const agent = new AgentLink(channel)
    await agent.take('hello', BOOT_MS_MAX)
    await startRunner(agent, key, isTemplate)
    return { machine, agent, channel }
  } catch (error) {
    await machine.kill()
    takes.refuseIfClosed()
    throw failedStep('boot', error)
  }
}

/** Guest of a booted machine, waiting for its job. */
export async function guestOf({ machine, channel }: BootedMachine): Promise<FirecrackerGuest> {
  try {
    return new FirecrackerGuest(machine, channel, await machine.connect(jobVsockPort))
  } catch (error) {
    await machine.kill()
    throw failedStep('connect', error)
  }
}

/** Connects to a port of a guest; retries until a process of the guest listens there. */
export async function connectGuest(
  machine: FirecrackerMachine,
  port: number,
  msMax: number,
): Promise<Socket> {
  const until = performance.now() + msMax
  for (;;) {
    try {
      return await machine.connect(port)
    } catch (error) {
      if (!machine.isAlive()) throw failure('gone', { request: 'boot' }, 'its process has ended')
      if (performance.now() > until) throw failedStep('connect', error)
    }
    await sleep(CONNECT_POLL_MS)
  }
}
