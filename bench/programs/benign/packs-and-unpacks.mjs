import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib'

/** Round trips through two packers. */
export default () => {
  const text = Buffer.from('all work and no play '.repeat(20_000))
  return [
    gunzipSync(gzipSync(text)).equals(text),
    brotliDecompressSync(brotliCompressSync(text.subarray(0, 100_000))).length,
  ]
}
