/** Candidate files of an import that names another file, likeliest first. */

const SUFFIXES = ['.ts', '.tsx', '.mts', '.cts', '.js', '.jsx', '.mjs', '.cjs', '.json']
const INDEXES = SUFFIXES.map((suffix) => `/index${suffix}`)

/**
 * The path itself, with a suffix, and the TypeScript source of a `.js`. @param {string} path @returns
 * {string[]}
 */
export function filesNamed(path) {
  const typed = path.replace(/\.([cm]?)js(x?)$/, '.$1ts$2')
  const made = typed === path ? [] : [typed, ...(typed.endsWith('.ts') ? [`${typed}x`] : [])]
  return [path, ...made, ...SUFFIXES.map((suffix) => path + suffix)]
}

/** Index files of a folder. @param {string} path @returns {string[]} */
export function indexesOf(path) {
  return INDEXES.map((index) => path + index)
}
