import { refused, wordsOf, type EgressRefusal, type Header } from './http-head.ts'

/** Answer whose body is complete. */
export interface WholeAnswer {
  readonly headers: readonly Header[]
  readonly body: Buffer
}

type Decoder = 'gunzip' | 'inflate'
const decoders: Readonly<Record<string, Decoder>> = {
  gzip: 'gunzip',
  'x-gzip': 'gunzip',
  deflate: 'inflate',
}

/**
 * Removes a content coding, which a store may send although `identity` was requested: a realm cannot decode it. Several
 * codings, unknown ones and bodies that are no such data are passed on as they are. So is zstd, of which Node decodes the
 * first frame alone, without a sign, and br: hosts are hostile, and the decoder of brotli in older Nodes that may run the
 * server is not safe for their bytes. Bound: the bytes of the body that results. `made` is told how many were made, at most.
 */
export async function decoded(
  answer: WholeAnswer,
  bytesMax: number,
  made: (bytes: number) => void,
): Promise<WholeAnswer | EgressRefusal> {
  const [coding = '', ...others] = wordsOf(answer.headers, 'content-encoding')
  const decoder = Object.hasOwn(decoders, coding) ? decoders[coding] : undefined
  if (!decoder || others.length > 0 || answer.body.length === 0) return answer
  try {
    const body = await decodedBody(decoder, answer.body, { maxOutputLength: bytesMax })
    made(body.length)
    return { headers: answer.headers.filter(([name]) => !ofCoding.test(name)), body }
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException
    // Bytes of gzip may be decoded before the bad header of a later member.
    if (message !== badHeader || answer.body[0] === gzipFirst) made(bytesMax)
    if (code === 'ERR_BUFFER_TOO_LARGE')
      return refused(`its answer has more than ${bytesMax} bytes once it is decoded`, 413)
    return answer
  }
}

/** Message of zlib for a first header that it cannot read: nothing is decoded. */
const badHeader = 'incorrect header check'
const gzipFirst = 0x1f
const ofCoding = /^(content-encoding|content-length)$/i

function decodedBody(
  decoder: Decoder,
  body: Buffer,
  options: { readonly maxOutputLength: number },
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // Loaded lazily: few answers are encoded.
    const zlib = process.getBuiltinModule('node:zlib')
    const done = (error: Error | null, plain: Buffer) => (error ? reject(error) : resolve(plain))
    zlib[decoder](body, options, done)
  })
}
