/** Under which names a file may lie that a source calls by another, likeliest first. */

const SUFFIXES = ['.ts', '.tsx', '.mts', '.cts', '.js', '.jsx', '.mjs', '.cjs', '.json']
const INDEXES = SUFFIXES.map((suffix) => `/index${suffix}`)

/** As written, with a suffix, as the TypeScript that a `.js` is made of. @param {string} path @returns {string[]} */
export function filesNamed(path) {
  const typed = path.replace(/\.([cm]?)js(x?)$/, '.$1ts$2')
  const made = typed === path ? [] : [typed, ...(typed.endsWith('.ts') ? [`${typed}x`] : [])]
  return [path, ...made, ...SUFFIXES.map((suffix) => path + suffix)]
}

/** As a folder. @param {string} path @returns {string[]} */
export function indexesOf(path) {
  return INDEXES.map((index) => path + index)
}
