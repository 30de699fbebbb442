import { readdirSync, readFileSync } from 'node:fs'
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

const guest = fileURLToPath(new URL('../../guest', import.meta.url))

/** `joined` is the folder of joined programs, which an installed package has in place of the sources. */
export function wasmRuntime(joined: string | undefined): WasmRuntime {
  const folder = joined === undefined ? guest : path.join(joined, 'guest')
  const parts = joined === undefined ? readdirSync(path.join(folder, 'wasm')).map(below) : []
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
