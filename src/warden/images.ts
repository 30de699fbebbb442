import type { AdmittedImage } from '../contract/image-reference.ts'
import type { ImagePolicy } from '../contract/vulnerability.ts'
import { MayflyError } from '../contract/error.ts'
import { signerFolder } from '../lib/state-folder.ts'
import { admitImage, type Admission } from '../images/admit.ts'
import type { ImageScan } from '../images/scan.ts'
import { findImage, imageFolder } from '../images/store.ts'
import { imageKey } from './image-signer.ts'

/**
 * Digest of an image. The server cannot read the image store, which belongs to the warden. Throws MayflyError
 * NOT_FOUND, IMAGE_BROKEN, and IMAGE_REFUSED if the policy refuses it.
 */
export function admittedImage(
  state: string,
  {
    name,
    policy,
    isDefault = false,
  }: { readonly name: string; readonly policy: ImagePolicy; readonly isDefault?: boolean },
  now: () => number,
): AdmittedImage {
  const folder = imageFolder(state)
  const { digest, signed } = findImage(folder, name)
  if (signed.manifest.form === 'archive')
    throw new MayflyError('IMAGE_REFUSED', `Cannot use image "${name}": it is not a file system`, {
      hint: 'Machines boot from it; name an image that was built as a root',
    })
  const key = imageKey(signerFolder(state))
  const admission = admitImage(digest, { folder, key, policy, now, isDefault })
  if (admission.kind === 'admitted') return { digest, scanned: admittedText(admission, now()) }
  const { code, because, fix, scan } = admission
  const feeds = scan ? `; scanned: ${scannedText(scan, now())}` : ''
  throw new MayflyError(
    'IMAGE_REFUSED',
    `Cannot use image "${name}": ${code}: ${because}${feeds}`,
    {
      hint: fix,
    },
  )
}

/** Text of the admission, with the reason if a scan is not accepted. */
function admittedText(
  { scan, unscanned }: Extract<Admission, { readonly kind: 'admitted' }>,
  now: number,
): string {
  const feeds = scan ? `scanned: ${scannedText(scan, now)}` : ''
  return [feeds, unscanned ?? ''].filter((part) => part !== '').join('; ')
}

function scannedText({ feeds }: ImageScan, now: number): string {
  return feeds.map(({ name, asOf }) => `feed "${name}", ${ageText(now - asOf)} old`).join('; ')
}

function ageText(ms: number): string {
  const hours = Math.max(0, Math.floor(ms / 3_600_000))
  return hours < 48 ? `${hours} hours` : `${Math.floor(hours / 24)} days`
}
