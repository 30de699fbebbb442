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

  /** Adds a step that grabs nothing. */
  add(...steps: readonly Step[]): void {
    this.steps.push(...steps)
  }
}
