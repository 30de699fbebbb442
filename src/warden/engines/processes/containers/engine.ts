import type { Engine, EngineHost, EngineOptions } from '../../../../contract/engine.ts'
import { LazyEngine } from '../../lazy-engine.ts'
import type { ContainerEngineName } from './socket.ts'

/**
 * Walls that are containers of Podman or Docker, rootless or rootful, made through the API socket of the engine.
 *
 * Start of a wall: make a folder of listening sockets; create a container of an empty image, with this system's folders and the
 * folder of sockets mounted read-only, without network and capabilities; start it; accept the connections of its process 1
 * (guest/connector/connector.c); wait for the byte that reports a warm program. From then on it is a wall of processes:
 * memory and CPU are limited by sampling, processes by RLIMIT_NPROC, all by host pids.
 *
 * Relies on: API 1.40; an engine on this machine whose user can mount the files that this user can read. Never pulls, and uses
 * only the image that it made.
 */
export const openPodman = openBy('podman')
export const openDocker = openBy('docker')

function openBy(name: ContainerEngineName) {
  return (options: EngineOptions, host: EngineHost): Engine =>
    new LazyEngine(name, async () => {
      const { ContainerStarter } = await import('./start.ts')
      return new ContainerStarter(name, options, host)
    })
}
