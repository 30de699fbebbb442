/** Small WebAssembly modules, assembled here so that the payloads are readable. */

const FUNC = 0x60
const EXTERNREF = 0x6f

/** Imports `m.f: () -> ()`, exports `run` that calls it. */
export const callsImport = assemble([
  section(1, [1, FUNC, 0, 0]),
  section(2, [1, ...name('m'), ...name('f'), 0, 0]),
  section(3, [1, 0]),
  section(7, [1, ...name('run'), 0, 1]),
  section(10, [1, 4, 0, 0x10, 0, 0x0b]),
])

/** Exports `run: () -> ()` that loops for ever. */
export const loops = assemble([
  section(1, [1, FUNC, 0, 0]),
  section(3, [1, 0]),
  section(7, [1, ...name('run'), 0, 0]),
  section(10, [1, 7, 0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b]),
])

/** Imports `h.boom` and the tag `h.tag`; `run` calls `boom` and returns any exception as an externref. */
export const catchesAll = assemble([
  section(1, [3, FUNC, 0, 0, FUNC, 0, 1, EXTERNREF, FUNC, 1, EXTERNREF, 0]),
  section(2, [2, ...name('h'), ...name('boom'), 0, 0, ...name('h'), ...name('tag'), 4, 0, 2]),
  section(3, [1, 1]),
  section(7, [1, ...name('run'), 0, 1]),
  section(10, [1, ...body([0x02, EXTERNREF, 0x1f, 0x40, 1, 0, 0, 0, 0x10, 0, 0x0b, 0x00, 0x0b])]),
])

/** Source text: an expression that creates the bytes. */
export function bytesOf(module: readonly number[]): string {
  return `Uint8Array.of(${module.join(',')})`
}

function assemble(sections: readonly (readonly number[])[]): readonly number[] {
  return [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections.flat()]
}

function section(id: number, content: readonly number[]): readonly number[] {
  return [id, content.length, ...content]
}

function body(code: readonly number[]): readonly number[] {
  return [code.length + 2, 0, ...code, 0x0b]
}

function name(text: string): readonly number[] {
  return [text.length, ...Buffer.from(text)]
}
