import { promisify } from 'node:util'
import { constants, zstdCompress } from 'node:zlib'

const LEVEL = 3
const compress = promisify(zstdCompress)

/** Compresses consecutive pages of a capture into a zstd frame (RFC 8878). */
export async function packPages(pages: readonly Uint8Array[]): Promise<Buffer> {
  return await compress(Buffer.concat(pages), {
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL },
  })
}
