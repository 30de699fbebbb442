import type { WholeSpec } from './jail-spec.ts'

/**
 * Steps of the launcher (`guest/launcher/launcher.c`), as the words of its command line: name, number of arguments,
 * arguments. They are carried out in this order; the last is `exec`.
 */
export type Step = readonly string[]

export function step(name: string, ...args: readonly (string | number)[]): Step {
  return [name, `${args.length}`, ...args.map(String)]
}

/** Step that mounts a tmpfs of at most so many bytes, and options of a mount that is to be the same. */
export const tmpfsStep = (at: string, bytes: number, inodes: number): Step =>
  step('tmpfs', at, tmpfsOptions(bytes, inodes))

export const tmpfsOptions = (bytes: number, inodes: number) =>
  `size=${bytes},nr_inodes=${inodes},mode=755`

/** Path under which a started launcher is opened: the very descriptor that was checked. */
export const launcherPath = (fd: number) => `/proc/self/fd/${fd}`

/** Numbers the trees that are grabbed, in the order in which the launcher meets them. */
export class Trees {
  readonly steps: Step[] = []
  #count = 0

  /** A copy of what is mounted at `path`; returns its number. */
  grab(path: string): number {
    this.steps.push(step('grab', path))
    return this.#count++
  }

  /** The same of a folder that must be `owner`'s; `isMapped` where the uid of this process counts as well. */
  grabLayer(
    { root, content, owner }: { root: string; content: string; owner: number },
    isMapped: boolean,
  ): number {
    this.steps.push(step('grab-layer', root, content, owner, isMapped ? 'mapped' : 'own'))
    return this.#count++
  }

  /** Mounts at `at` a copy of what is mounted at `from`. */
  bind(from: string, at: string, how: 'attach' | 'attach-readonly'): void {
    this.add(step(how, this.grab(from), at))
  }

  /** Adds a step that grabs nothing. */
  add(...steps: readonly Step[]): void {
    this.steps.push(...steps)
  }
}

/** Adds `/etc` with these files and `/dev` with these devices, in a root that is built at `over`. */
export function addEtcAndDev(
  trees: Trees,
  over: string,
  { etc = {}, devices = [] }: Pick<WholeSpec, 'etc' | 'devices'>,
): void {
  trees.add(step('folder', '755', `${over}/etc`, `${over}/dev`))
  for (const [at, text] of Object.entries(etc)) trees.add(step('file', '444', over + at, text))
  for (const device of devices) trees.bind(device, over + device, 'attach')
}
