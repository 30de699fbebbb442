import { statSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../../../../contract/error.ts'

/** Engines whose API this is. */
export type ContainerEngineName = 'podman' | 'docker'

/** API socket of an engine, and the user who owns it: that user's engine mounts what it can read. */
export interface ContainerSocket {
  readonly path: string
  readonly uid: number
}

/** Variables are those of the two command lines. Throws MayflyError UNAVAILABLE. */
export function findSocket(
  name: ContainerEngineName,
  env: NodeJS.ProcessEnv = process.env,
  hide: readonly string[] = [],
): ContainerSocket {
  const places = hide.includes(name) ? [] : placesOf[name](env)
  for (const place of places) {
    const facts = statSync(place, { throwIfNoEntry: false })
    if (facts?.isSocket()) return { path: place, uid: facts.uid }
  }
  throw new MayflyError(
    'UNAVAILABLE',
    `Cannot start a wall: there is no socket of ${titles[name]}`,
    {
      hint: hints[name],
    },
  )
}

const titles = { podman: 'Podman', docker: 'Docker' } as const
const hints = {
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

/** Only a socket of this machine: what it starts has to be here. */
function ofVariable(value: string | undefined): readonly string[] {
  return value?.startsWith('unix://') ? [value.slice('unix://'.length)] : []
}
