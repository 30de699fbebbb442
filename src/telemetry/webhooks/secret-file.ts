import { constants, statSync } from 'node:fs'
import { MayflyError, messageOf } from '../../contract/error.ts'
import { openDescriptor, readAt } from '../../lib/file-descriptor.ts'
import { readSigner, type WebhookSigner } from './sign.ts'

const bytesMax = 2 ** 20

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

/**
 * Text of a small file. Opens regular files alone: open(2) of a FIFO blocks, and that of a device may have an effect, which a
 * configuration that nobody trusts yet must not have.
 */
export function readPlainFile(path: string): string {
  if (!statSync(path).isFile()) throw new Error('it is no plain file')
  using file = openDescriptor(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return readAt(file.fd, 0, bytesMax).toString('utf8')
}
