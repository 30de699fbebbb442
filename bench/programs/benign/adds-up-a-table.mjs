import { createReadStream, createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { finished } from 'node:stream/promises'

/** A data job over a CSV, line by line. */
export default async () => {
  const out = createWriteStream('sales.csv')
  for (let n = 0; n < 20_000; n++) out.write(`${n},region ${n % 7},${(n * 37) % 1000}\n`)
  out.end()
  await finished(out)
  const sums = {}
  for await (const line of createInterface({ input: createReadStream('sales.csv') })) {
    const [, region, sum] = line.split(',')
    sums[region] = (sums[region] ?? 0) + Number(sum)
  }
  return sums
}
