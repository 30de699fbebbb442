// expects: sensitive-data
// wall: bubblewrap
import { readFileSync } from 'node:fs'

/** Tries one place after the other where people keep private keys. */
export default () => {
  for (const home of ['/root', '/home/ubuntu', process.env.HOME])
    for (const name of ['id_rsa', 'id_ed25519'])
      try {
        return readFileSync(`${home}/.ssh/${name}`, 'utf8')
      } catch {
        continue
      }
  return 'nothing'
}
