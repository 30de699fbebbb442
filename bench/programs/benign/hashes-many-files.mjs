import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** Writes two hundred small files and takes the hash of each. */
export default () => {
  mkdirSync('many')
  for (let n = 0; n < 200; n++) writeFileSync(`many/${n}.txt`, `file ${n}\n`.repeat(100))
  const hash = createHash('sha256')
  for (const name of readdirSync('many').sort()) hash.update(readFileSync(`many/${name}`))
  return hash.digest('hex')
}
