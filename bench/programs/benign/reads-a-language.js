// packages: acorn
// A parser of a published package over a page of code.
import { parse } from 'acorn'

export default () => {
  const line = (n) => `export function f${n}(a, b = 1) { return [...a].map((one) => one ?? b) }`
  const code = Array.from({ length: 400 }, (_, n) => line(n)).join('\n')
  return parse(code, { ecmaVersion: 'latest', sourceType: 'module' }).body.length
}
