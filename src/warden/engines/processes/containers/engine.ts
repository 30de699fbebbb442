import type { Engine, EngineHost, EngineOptions } from '../../../../contract/engine.ts'
import { LazyEngine } from '../../lazy-engine.ts'
import type { ContainerEngineName } from './socket.ts'

/**
 * Walls that are containers of Podman or Docker, rootless or not, by the API on their socket.
 *
 * Start of a wall: make a folder of sockets; create a container of an image without files, in which this system's folders and
 * the folder of sockets are mounted read-only, without network and capabilities; start it; accept what its process 1
 * connects to (guest/connector/connector.c); wait for the byte that says that the program is warm. From then on it is a wall of
 * processes, whose bounds are a watch's and RLIMIT_NPROC's, by the pids of this machine.
 *
 * Relies on: API 1.40; an engine on this machine whose user may mount what this user may read. Never pulls, and never uses an
 * image that it did not make.
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
