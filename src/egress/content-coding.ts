import { refused, wordsOf, type EgressRefusal, type Header } from './http-head.ts'

/** Answer whose body is complete. */
export interface WholeAnswer {
  readonly headers: readonly Header[]
  readonly body: Buffer
}

type Decoder = 'gunzip' | 'inflate' | 'brotliDecompress' | 'zstdDecompress'
const decoders: Readonly<Record<string, Decoder>> = {
  gzip: 'gunzip',
  'x-gzip': 'gunzip',
  deflate: 'inflate',
  br: 'brotliDecompress',
  zstd: 'zstdDecompress',
}

/**
 * Removes a content coding, which a store may send although `identity` was requested: a realm cannot decode it. Several
 * codings, unknown ones and bodies that are no such data are passed on as they are. Bound: the bytes of the body that results.
 */
export async function decoded(
  answer: WholeAnswer,
  bytesMax: number,
): Promise<WholeAnswer | EgressRefusal> {
  const [coding = '', ...others] = wordsOf(answer.headers, 'content-encoding')
  const decoder = Object.hasOwn(decoders, coding) ? decoders[coding] : undefined
  if (!decoder || others.length > 0 || answer.body.length === 0) return answer
  try {
    const body = await decodedBody(decoder, answer.body, { maxOutputLength: bytesMax })
    return { headers: answer.headers.filter(([name]) => !ofCoding.test(name)), body }
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    if (code === 'ERR_BUFFER_TOO_LARGE')
      return refused(`its answer has more than ${bytesMax} bytes once it is decoded`, 413)
    return answer
  }
}

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
    if (decoder === 'brotliDecompress') zlib.brotliDecompress(body, options, done)
    else if (decoder === 'zstdDecompress') zlib.zstdDecompress(body, options, done)
    else zlib[decoder](body, options, done)
  })
}
