/**
 * Warm-up sources for the parser, the type stripper and the rules: some twenty of 10 KB.
 */

const SOURCE_UNITS = 10_000

/**
 * @param {(request: import('../src/threat/inspect.ts').InspectRequest) => unknown} inspect
 * @param {number} sources 0 for a process that parses only one source: warm-up would cost more than it saves
 */
export function warmUp(inspect, sources) {
  if (sources === 0) return
  for (let index = 0; index < sources; index++) {
    inspect({ code: javascript(index), language: 'js', entry: 'auto', files: [] })
  }
  inspect({ code: 'const a: number = 1; return a', language: 'ts', entry: 'auto', files: [] })
  inspect({ code: 'export default (a: number) => a', language: 'ts', entry: 'auto', files: [] })
  inspect({ code: 'let a = ;', language: 'ts', entry: 'auto', files: [] })
  inspect({ code: 'import "node:fs"; require("x")', entry: 'auto', files: [] })
  inspect({
    code: 'def main(input):\n  return input',
    language: 'python',
    entry: 'auto',
    files: [],
  })
}

/**
 * A mix of all constructs, about 10,000 characters.
 * @param {number} seed
 */
function javascript(seed) {
  const pieces = []
  for (let length = 0, index = seed; length < SOURCE_UNITS; index++) {
    const piece = part(index)
    pieces.push(piece)
    length += piece.length
  }
  const body = pieces.join('\n')
  if (seed % 3 === 0) return `import { x } from './x.js'\n${body}\nexport default (input) => input`
  return seed % 3 === 1
    ? `async (input, context) => {\n${body}\nreturn input\n}`
    : `${body}\nreturn input`
}

/** @param {number} n */
function part(n) {
  return `
const list${n} = [1, 'two', /three/g, \`four \${${n}}\`].map((item, index) => ({ item, index, ...{ n: ${n} } }))
function sum${n}({ a = 1, b: [c] = [2] }, ...rest) {
  let total = 0
  for (const value of rest) if (value > ${n} && typeof value === 'number') total += value ?? a
  try { total = JSON.parse('{"x": ' + total + '}').x } catch (error) { console.log(error?.message) }
  switch (c) { case 1: return total; default: return a ? -total : total ** 2 }
}
class Thing${n} extends Map { #x = ${n}; static y = 1; get x() { return this.#x } async m() { await sum${n}({}) } }
const { env: e${n} } = { env: { key: ['a', 'b'].join('') } }; e${n}['k' + 'ey'] = list${n}.length
label${n}: while (true) { do { break label${n} } while (false) }
globalThis['v${n}'] = new Thing${n}([[1, String.fromCharCode(97, 98)]])`
}
