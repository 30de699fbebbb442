import type { Config } from '../contract/config.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { ImageAnswer } from '../contract/image-reference.ts'
import type { Job } from '../contract/job.ts'
import type { WardenClient } from '../walls/client.ts'

/** Asks the warden for the image of each job that names one: feeds age, and a tag may name another image by now. */
export class ImageLookups {
  readonly #warden: Pick<WardenClient, 'image'>
  readonly #config: () => Config
  readonly #answers = new WeakMap<Job, ImageAnswer>()

  constructor(warden: Pick<WardenClient, 'image'>, config: () => Config) {
    this.#warden = warden
    this.#config = config
  }

  /** Never rejects: a refusal is the end of the job. */
  async lookUp(job: Job): Promise<void> {
    const { image } = job.asked
    if (image === undefined) return
    this.#answers.set(job, await this.#answer(image))
  }

  answerOf(job: Job): ImageAnswer | undefined {
    return this.#answers.get(job)
  }

  async #answer(image: string): Promise<ImageAnswer> {
    try {
      return { kind: 'admitted', ...(await this.#warden.image(image, this.#config().images)) }
    } catch (thrown) {
      const known = thrown instanceof MayflyError ? thrown : undefined
      const details = known?.hint === undefined ? {} : { details: { hint: known.hint } }
      const code = known?.code ?? 'INTERNAL'
      return { kind: 'refused', error: { code, message: messageOf(thrown), ...details } }
    }
  }
}
