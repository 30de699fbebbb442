import { fileURLToPath } from 'node:url'
import { cFiles, openCProgram, type CProgramLookup, type CProgramSource } from './c-program.ts'

interface OwnProgram extends Pick<CProgramSource, 'linking'> {
  /** Files of other programs below `guest/` that it shares. */
  readonly shared?: readonly string[]
}

const steps = ['launcher/steps.c', 'launcher/steps.h']

export type OwnProgramName =
  | 'agent'
  | 'carrier'
  | 'connector'
  | 'folder'
  | 'launcher'
  | 'sentinel'
  | 'zygote'

/** Mayfly's programs in C, each of a folder below `guest/`. */
const programs: Readonly<Record<OwnProgramName, OwnProgram>> = {
  /** Process 1 of a guest. Static, so that an initrd needs no other file. */
  agent: { linking: 'static' },
  /** Carries the streams of a guest. Static, so that it needs no file of the guest's image. */
  carrier: { linking: 'static' },
  /** Process 1 of a container. */
  connector: { linking: 'static' },
  /** Wall of a command in a folder of the host. */
  folder: { shared: [...steps, 'sentinel/caller.c', 'sentinel/caller.h', 'sentinel/wall.h'] },
  /** Starts walls. Without a compiler, unshare and setpriv do. */
  launcher: {},
  /** Answers system calls; a keeper performs the steps of a jail, too. Static in an image, whose loader is untrusted. */
  sentinel: { shared: steps },
  /** Library of templates. Without a compiler each program is started by an exec. */
  zygote: {
    linking: 'library',
    shared: [
      ...steps,
      ...['enter.c', 'enter.h', 'masks.c', 'masks.h'].map((name) => `sentinel/${name}`),
    ],
  },
}

/** The compiled program. All options but `hide` and `linking` are for tests. Never rejects. */
export async function openOwnProgram(
  name: OwnProgramName,
  options: Partial<CProgramSource> = {},
): Promise<CProgramLookup> {
  if (options.hide?.includes(name)) return { missing: 'it is hidden' }
  const { linking } = programs[name]
  return await openCProgram({ name, sources: placesOf(name), linking, ...options })
}

/** Paths of all its source files, including headers. */
export function sourcesOf(name: OwnProgramName): readonly string[] {
  return cFiles(placesOf(name))
}

function placesOf(name: OwnProgramName): readonly string[] {
  const { shared = [] } = programs[name]
  return [name, ...shared].map((place) =>
    fileURLToPath(new URL(`../../guest/${place}`, import.meta.url)),
  )
}
