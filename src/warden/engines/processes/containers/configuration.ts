import { existsSync, lstatSync, realpathSync } from 'node:fs'
import path from 'node:path'
import type { MountedLayer, WholeProgram } from '../../../../jail/whole.ts'
import {
  limitsOfWhole,
  maskedProc,
  ownFolder,
  runnerWords,
  scratchFolders,
  settingsInside,
  wholeEnv,
  wholeFilter,
  wholeSystem,
} from '../../../../jail/whole.ts'
import { systemFolders } from '../../../../jail/facts.ts'
import type { ContainerEngineName } from './socket.ts'

/** Inputs of the request that creates a container: no network, no capability, a read-only root, no pulled image. */
export interface ContainerParts {
  readonly engine: ContainerEngineName
  readonly id: string
  readonly image: string
  readonly labels: Readonly<Record<string, string>>
  readonly program: { readonly main: string; readonly whole: WholeProgram }
  readonly layers: readonly MountedLayer[]
  /** Folder of its sockets, and folder of files generated for it. */
  readonly sockets: string
  readonly files: string
  /** User inside the container; no other container has the same one. */
  readonly uid: number
}

/** File name of the connector in `files`. */
export const connectorName = 'connector'
const SOCKETS_INSIDE = '/run/mayfly'
const CONNECTOR_INSIDE = `${ownFolder}/connector`
/** Limit of all processes; the claim sets a lower one for those of the program. */
const PIDS_MAX = 512
/** Files that the container engine itself mounts. */
const OF_ENGINE = new Set(['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'])

export function configurationOf(parts: ContainerParts) {
  const { engine, image, labels, program, layers, uid } = parts
  const { scratchBytes } = program.whole
  const runner = runnerWords(program, settingsInside(program.whole, layers))
  const words = [runner[0], ...runner]
  const { core, nofile, memlock } = limitsOfWhole
  const limits = [core, nofile, memlock, scratchBytes].map(String)
  return {
    Image: image,
    Labels: labels,
    Entrypoint: [CONNECTOR_INSIDE],
    Cmd: [SOCKETS_INSIDE, wholeFilter('namespaces').toString('hex'), ...limits, ...words],
    User: `${uid}:${uid}`,
    // Not /work: Docker makes the folder in the image, and runc before 1.2 gives a tmpfs there the mode of that one.
    WorkingDir: '/',
    Hostname: 'mayfly',
    Env: Object.entries(wholeEnv).map((pair) => pair.join('=')),
    NetworkDisabled: true,
    HostConfig: {
      NetworkMode: 'none',
      IpcMode: 'private',
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      ...maskedBy(engine),
      PidsLimit: PIDS_MAX,
      LogConfig: { Type: 'none' },
      ShmSize: scratchBytes,
      Tmpfs: Object.fromEntries(
        scratchFolders
          .filter((folder) => folder !== '/dev/shm')
          .map((folder) => [folder, `rw,exec,nosuid,nodev,mode=1777,size=${scratchBytes}`]),
      ),
      Binds: bindsOf(parts),
    },
  }
}

/**
 * Masks /sys and the files of /proc that describe this machine. Podman reads them from a security option, Docker from a field;
 * each ignores the setting of the other.
 */
function maskedBy(engine: ContainerEngineName) {
  const { folders, files } = maskedProc()
  const masked = [...folders, ...files, '/sys']
  const options = ['no-new-privileges']
  if (engine === 'docker') return { SecurityOpt: options, MaskedPaths: masked }
  return { SecurityOpt: [...options, `mask=${masked.join(':')}`] }
}

/** The image is empty, so symbolic links of this system's root become bind mounts of their targets. */
function bindsOf({ program, layers, sockets, files }: ContainerParts): readonly string[] {
  const bind = (from: string, at: string) => `${from}:${at}:ro`
  const system = [...systemFolders().mounts, ...wholeSystem().mounts]
  const links = [...systemFolders().links, ...wholeSystem().links]
    .filter(({ at }) => !at.startsWith('/dev/') && existsSync(at) && lstatSync(at).isSymbolicLink())
    .map(({ at }) => bind(realpathSync(at), at))
  return [
    ...system.map((place) => bind(realpathSync(place), place)),
    ...links,
    ...etcNames
      .filter((at) => !OF_ENGINE.has(at))
      .map((at) => bind(path.join(files, path.basename(at)), at)),
    ...program.whole.places.map(({ from, at }) => bind(from, at)),
    ...layers.map(({ root, content, at }) => bind(path.join(root, content), at)),
    bind(path.join(files, connectorName), CONNECTOR_INSIDE),
    bind(sockets, SOCKETS_INSIDE),
  ]
}

const etcNames = [
  '/etc/passwd',
  '/etc/group',
  '/etc/nsswitch.conf',
  '/etc/services',
  '/etc/protocols',
]
