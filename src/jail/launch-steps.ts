import type { WholeSpec } from './jail-spec.ts'
import { terminalOptions, terminalsFolder } from './whole.ts'

/**
 * Steps of the launcher (`guest/launcher/launcher.c`), as arguments of its command line: name, number of arguments,
 * arguments. They are performed in this order; the last is `exec`.
 */
export type Step = readonly string[]

export function step(name: string, ...args: readonly (string | number)[]): Step {
  return [name, `${args.length}`, ...args.map(String)]
}

/** Step that mounts a tmpfs of at most `bytes` and `inodes`. */
export const tmpfsStep = (at: string, bytes: number, inodes: number): Step =>
  step('tmpfs', at, tmpfsOptions(bytes, inodes))

/** To the kernel a size of 0 is no limit. */
export const tmpfsOptions = (bytes: number, inodes: number) =>
  `size=${Math.max(1, bytes)},nr_inodes=${inodes},mode=755`

/** Path of the launcher for execve: the descriptor that was checked, so that no other file is executed. */
export const launcherPath = (fd: number) => `/proc/self/fd/${fd}`

/** Numbers the mount trees that the launcher clones, in its order. */
export class Trees {
  readonly steps: Step[] = []
  #count = 0

  /** Clones the mount at `path`; returns its number. */
  grab(path: string): number {
    this.steps.push(step('grab', path))
    return this.#count++
  }

  /** Clones the mount at a path without symlinks. */
  grabReal(path: string): number {
    this.steps.push(step('grab-real', path))
    return this.#count++
  }

  /** Clones a folder that must belong to `owner`, or with `isMapped` to the uid of this process. */
  grabLayer(
    { root, content, owner }: { root: string; content: string; owner: number },
    isMapped: boolean,
  ): number {
    this.steps.push(step('grab-layer', root, content, owner, isMapped ? 'mapped' : 'own'))
    return this.#count++
  }

  /** Mounts a clone of the mount at `from` at `at`. */
  bind(from: string, at: string, how: 'attach' | 'attach-readonly'): void {
    this.add(step(how, this.grab(from), at))
  }

  /** Adds steps without a mount. */
  add(...steps: readonly Step[]): void {
    this.steps.push(...steps)
  }
}

/** Adds `/etc` with these files, and `/dev` with these devices and terminals of its own, to the root at `over`. */
export function addEtcAndDev(
  trees: Trees,
  over: string,
  { etc = {}, devices = [] }: Pick<WholeSpec, 'etc' | 'devices'>,
): void {
  trees.add(step('folder', '755', `${over}/etc`, `${over}/dev`))
  for (const [at, text] of Object.entries(etc)) trees.add(step('file', '444', over + at, text))
  for (const device of devices) trees.bind(device, over + device, 'attach')
  trees.add(step('terminals', over + terminalsFolder, terminalOptions))
}

/** Files of the kernel's settings below the root at `over`. */
export function settingFiles(
  over: string,
  files: NonNullable<WholeSpec['settings']>['files'],
): readonly Step[] {
  return Object.entries(files).map(([at, text]) => step('file', '444', over + at, text))
}
