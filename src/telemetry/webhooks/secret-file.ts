import { MayflyError, messageOf } from '../../contract/error.ts'
import { readPlainFile } from '../../lib/file-descriptor.ts'
import { readSigner, type WebhookSigner } from './sign.ts'

/** Signer of the secret in a file. Throws MayflyError CONFIG. */
export function signerIn(path: string): WebhookSigner {
  try {
    return readSecretFile(path)
  } catch (thrown) {
    throw new MayflyError(
      'CONFIG',
      `Cannot read the webhook secret in "${path}": ${messageOf(thrown)}`,
      { details: { issues: [{ where: 'webhooks', message: messageOf(thrown) }] }, cause: thrown },
    )
  }
}

/** As `signerIn`, with the plain error. */
export function readSecretFile(path: string): WebhookSigner {
  return readSigner(readPlainFile(path))
}
