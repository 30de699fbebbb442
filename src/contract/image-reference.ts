import type { OutcomeError } from './outcome-error.ts'

/** An image as a job names it: a tag, or a whole digest. */
export const imageReferencePattern = /^(?:[a-z0-9][a-z0-9._-]{0,62}|sha256:[0-9a-f]{64})$/

/** An image that a policy lets be used, as a warden tells of it. */
export interface AdmittedImage {
  readonly digest: string
  /** Feeds of its scan with their age, in one line. */
  readonly scanned: string
}

/** Image of a job, looked up before its profile is made. */
export type ImageAnswer =
  | ({ readonly kind: 'admitted' } & AdmittedImage)
  | { readonly kind: 'refused'; readonly error: OutcomeError }
