import { statSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../../../../contract/error.ts'
import { attempt } from '../../../../lib/attempt.ts'

/** Container engines that serve this API. */
export type ContainerEngineName = 'podman' | 'docker'

/** API socket of an engine, and its owner: the engine can mount only files that this user can read. */
export interface ContainerSocket {
  readonly path: string
  readonly uid: number
}

/** Finds the socket by the variables that the command lines `podman` and `docker` read, or at its usual path. Throws UNAVAILABLE. */
export function findSocket(
  name: ContainerEngineName,
  env: NodeJS.ProcessEnv = process.env,
  hide: readonly string[] = [],
): ContainerSocket {
  const places = hide.includes(name) ? [] : placesOf[name](env)
  for (const place of places) {
    const facts = attempt(() => statSync(place))
    if (facts?.isSocket()) return { path: place, uid: facts.uid }
  }
  throw new MayflyError(
    'UNAVAILABLE',
    `Cannot start a wall: the API socket of ${titles[name]} is missing`,
    {
      hint: socketHints[name],
    },
  )
}

const titles = { podman: 'Podman', docker: 'Docker' } as const
/** Fixes for a socket that is missing, or behind which no engine responds. */
export const socketHints = {
  podman: 'Serve its API: systemctl --user start podman.socket, or podman system service --time 0',
  docker: 'Start Docker, and let this user reach its socket, or set DOCKER_HOST',
} as const

const placesOf: Readonly<
  Record<ContainerEngineName, (env: NodeJS.ProcessEnv) => readonly string[]>
> = {
  podman: (env) => [
    ...ofVariable(env['CONTAINER_HOST']),
    ...(env['XDG_RUNTIME_DIR'] ? [path.join(env['XDG_RUNTIME_DIR'], 'podman/podman.sock')] : []),
    ...(process.getuid?.() === 0 ? ['/run/podman/podman.sock'] : []),
  ],
  docker: (env) => [...ofVariable(env['DOCKER_HOST']), '/var/run/docker.sock'],
}

/** Unix sockets only: the containers must run on this machine. */
function ofVariable(value: string | undefined): readonly string[] {
  return value?.startsWith('unix://') ? [value.slice('unix://'.length)] : []
}
