import type { OutcomeError } from './outcome-error.ts'

/** Reference of a job to an image: a tag, or a full digest. */
export const imageReferencePattern = /^(?:[a-z0-9][a-z0-9._-]{0,62}|sha256:[0-9a-f]{64})$/

/** Tags of the images that guests with a kernel of their own boot by default, by the program that runs in them. */
export const defaultImages = { node: 'node', python: 'python' } as const

/** An image that the policy admits, as reported by the warden. */
export interface AdmittedImage {
  readonly digest: string
  /** Feeds of its scan with their age, as `scanned: feed …`, or that it was never scanned; one line of text. */
  readonly scanned: string
}

/** Images of a job, by name. */
export type ImageAnswers = ReadonlyMap<string, ImageAnswer>

/** Image of a job, looked up before its profile is made. */
export type ImageAnswer =
  | ({ readonly kind: 'admitted' } & AdmittedImage)
  | { readonly kind: 'refused'; readonly error: OutcomeError }
