import type { Config } from '../contract/config.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { ImageAnswer, ImageAnswers } from '../contract/image-reference.ts'
import type { Job } from '../contract/job.ts'
import type { WardenClient } from '../walls/client.ts'

/** Maximum number of image names whose last digest is remembered. */
const NAMES_MAX = 256

/**
 * Asks the warden for the image of each job again: vulnerability feeds age, and a tag may have moved. When a name resolves
 * to another image than before, the spares of the old one are dropped.
 */
export interface ImageLookupParts {
  readonly warden: Pick<WardenClient, 'image'>
  readonly config: () => Config
  /** Ends the spares of an image. */
  readonly drop: (digest: string) => void
}

export class ImageLookups {
  readonly #parts: ImageLookupParts
  readonly #answers = new WeakMap<Job, ImageAnswers>()
  /**
   * Digest that each name resolved to last, if it was admitted. Separate for default images, which the policy may admit
   * without a scan: the refusal of a job that names one would end the spares of all others.
   */
  readonly #admitted = new Map<string, string>()

  constructor(parts: ImageLookupParts) {
    this.#parts = parts
  }

  /** Looks up the image that the job names. Never rejects: a refusal is the end of the job. */
  async lookUp(job: Job): Promise<void> {
    const { image } = job.asked
    if (image !== undefined) await this.#lookUp(job, image, false)
  }

  /** Looks up the default image of the wall that was chosen. */
  async lookUpDefault(job: Job, image: string): Promise<void> {
    if (!this.#answers.get(job)?.has(image)) await this.#lookUp(job, image, true)
  }

  answersOf(job: Job): ImageAnswers | undefined {
    return this.#answers.get(job)
  }

  async #lookUp(job: Job, image: string, isDefault: boolean): Promise<void> {
    const answer = await this.answer(image, isDefault)
    // A new map object: the planner caches plans by the identity of this map.
    this.#answers.set(job, new Map([...(this.#answers.get(job) ?? []), [image, answer]]))
  }

  /** Resolves a name of a job or of spares to an admitted image, or its refusal. Never rejects. */
  async answer(image: string, isDefault: boolean): Promise<ImageAnswer> {
    const answer = await this.#ask(image, isDefault)
    const key = `${isDefault ? 'default' : 'named'} ${image}`
    const before = this.#admitted.get(key)
    const now = answer.kind === 'admitted' ? answer.digest : undefined
    if (before !== undefined && before !== now) this.#parts.drop(before)
    this.#admitted.delete(key)
    if (now !== undefined) this.#admitted.set(key, now)
    if (this.#admitted.size > NAMES_MAX) this.#admitted.delete(this.#admitted.keys().next().value!)
    return answer
  }

  async #ask(image: string, isDefault: boolean): Promise<ImageAnswer> {
    try {
      const { warden, config } = this.#parts
      const found = await warden.image(image, config().images, isDefault)
      return { kind: 'admitted', ...found }
    } catch (thrown) {
      const known = thrown instanceof MayflyError ? thrown : undefined
      const details = known?.hint === undefined ? {} : { details: { hint: known.hint } }
      const code = known?.code ?? 'INTERNAL'
      return { kind: 'refused', error: { code, message: messageOf(thrown), ...details } }
    }
  }
}
