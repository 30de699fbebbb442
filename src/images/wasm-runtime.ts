import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { sha256 } from '../lib/hash.ts'

/**
 * The runtime of WebAssembly modules, listed beside the images of Linux: WASI preview 1 on the V8 of this Node. It is part of
 * Mayfly, so it is neither built nor deleted, and a module brings everything else that it needs.
 */
export interface WasmRuntime {
  readonly name: 'wasi'
  readonly kind: 'wasm'
  /** SHA-256, in hexadecimal, of its files with their names. */
  readonly digest: string
  /** Bytes of its files, without V8. */
  readonly size: number
  readonly files: number
  readonly interface: 'WASI preview 1'
  readonly engine: string
}

const folderOf = (place: string) => fileURLToPath(new URL(`../../${place}`, import.meta.url))

export function wasmRuntime(): WasmRuntime {
  const isJoined = !existsSync(folderOf('guest/wasm-worker.js'))
  // An installed package has the joined worker in place of the sources.
  const folder = folderOf(isJoined ? 'dist/joined/guest' : 'guest')
  const parts = isJoined ? [] : readdirSync(path.join(folder, 'wasm')).map(below)
  const names = ['wasm-worker.js', ...parts].sort()
  const contents = names.map((name) => readFileSync(path.join(folder, name)))
  const listed = names.map((name, at) => `${sha256(contents[at]!)} ${name}\n`)
  return {
    name: 'wasi',
    kind: 'wasm',
    digest: sha256(listed.join('')),
    size: contents.reduce((sum, bytes) => sum + bytes.length, 0),
    files: names.length,
    interface: 'WASI preview 1',
    engine: `V8 ${process.versions.v8}`,
  }
}

const below = (name: string) => `wasm/${name}`
