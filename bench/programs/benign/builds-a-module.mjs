import { mkdirSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { pathToFileURL } from 'node:url'

/** A build step: TypeScript to JavaScript, which is then imported. */
export default async () => {
  mkdirSync('dist')
  for (let n = 0; n < 30; n++) {
    const source = `export const f${n} = (a: number, b: number): number => a * b + ${n}\n`
    writeFileSync(`dist/m${n}.mjs`, stripTypeScriptTypes(source))
  }
  const { f7 } = await import(pathToFileURL('dist/m7.mjs').href)
  return f7(2, 3)
}
