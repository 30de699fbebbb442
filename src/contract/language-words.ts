/** Words of languages and suffixes of their files, without the schemas, which the command line loads late. */
export const languageWords = ['js', 'ts', 'node', 'python', 'wasm', 'sh', 'bash'] as const
type Language = (typeof languageWords)[number]

/** Usual names of the languages, in lower case. Models and people write these first. */
export const aliases = {
  javascript: 'js',
  mjs: 'js',
  cjs: 'js',
  jsx: 'js',
  typescript: 'ts',
  tsx: 'ts',
  nodejs: 'node',
  py: 'python',
  python3: 'python',
  shell: 'bash',
  webassembly: 'wasm',
} as const satisfies Readonly<Record<string, Language>>

export type UsualName = keyof typeof aliases

/** The canonical word of a name in any case; undefined for no language. */
export function canonicalLanguage(name: string): Language | undefined {
  const word = name.trim().toLowerCase()
  return (
    languageWords.find((one) => one === word) ??
    (Object.hasOwn(aliases, word) ? aliases[word as UsualName] : undefined)
  )
}

/** Language by suffix; for JavaScript and TypeScript, analysis chooses between Node and isolate. */
const languageOfSuffix: Readonly<Record<string, Language>> = {
  '.py': 'python',
  '.pyw': 'python',
  '.sh': 'sh',
  '.bash': 'bash',
  '.wasm': 'wasm',
}

const SCRIPT = /^\.(?:[cm]?[jt]s|[jt]sx)$/

/** Languages without an interpreter here, and how a job runs such code all the same. */
const foreignLanguages: readonly (readonly [name: string, suffixes: string, tool: string])[] = [
  ['C', '.c .h', 'gcc -o prog FILE && ./prog'],
  ['C++', '.cc .cpp .cxx .hpp', 'g++ -o prog FILE && ./prog'],
  ['Rust', '.rs', 'rustc -o prog FILE && ./prog'],
  ['Go', '.go', 'go run FILE'],
  ['Java', '.java', 'java FILE'],
  ['Kotlin', '.kt .kts', 'kotlinc -script FILE'],
  ['Ruby', '.rb', 'ruby FILE'],
  ['PHP', '.php .phtml', 'php FILE'],
  ['Perl', '.pl .pm', 'perl FILE'],
  ['Lua', '.lua', 'lua FILE'],
  ['R', '.r', 'Rscript FILE'],
  ['Julia', '.jl', 'julia FILE'],
  ['Swift', '.swift', 'swift FILE'],
  ['C#', '.cs .csx', 'dotnet run FILE'],
  ['Tcl', '.tcl', 'tclsh FILE'],
  ['AWK', '.awk', 'awk -f FILE'],
  ['Zsh', '.zsh', 'zsh FILE'],
  ['fish', '.fish', 'fish FILE'],
  ['Korn shell', '.ksh', 'ksh FILE'],
  ['PowerShell', '.ps1 .psm1', 'pwsh FILE'],
  ['VBScript', '.vbs .vbe', ''],
  ['Windows batch', '.bat .cmd', ''],
  ['WebAssembly text', '.wat', 'wat2wasm FILE'],
  ['a notebook', '.ipynb', ''],
]

/** A name by which a source is taken for a language, or for none. */
export type NamedLanguage =
  | { readonly kind: 'known'; readonly language: Language }
  /** JavaScript or TypeScript: analysis decides. */
  | { readonly kind: 'script' }
  /** No suffix: a shebang may tell. */
  | { readonly kind: 'bare' }
  | {
      readonly kind: 'unknown'
      readonly suffix: string
      readonly name?: string
      readonly tool?: string
    }

/** Reads the suffix of a file name, in any case. */
export function languageOfName(file: string): NamedLanguage {
  const suffix = (/[^/\\](\.[^./\\]*)$/.exec(file)?.[1] ?? '').toLowerCase()
  if (suffix === '' || suffix === '.') return { kind: 'bare' }
  if (SCRIPT.test(suffix)) return { kind: 'script' }
  const language = Object.hasOwn(languageOfSuffix, suffix) ? languageOfSuffix[suffix] : undefined
  if (language) return { kind: 'known', language }
  const foreign = foreignLanguages.find(([, suffixes]) => suffixes.split(' ').includes(suffix))
  if (!foreign) return { kind: 'unknown', suffix }
  const [name, , tool] = foreign
  return { kind: 'unknown', suffix, name, tool }
}

/**
 * Why a file of this name has no language, and the way to run it. `by` is how the caller names a language, `run` how it runs a bash
 * script with a file beside it.
 */
export function unknownLanguage(
  file: string,
  { suffix, name, tool = '' }: NamedLanguage & { kind: 'unknown' },
  { by, run }: { readonly by: string; readonly run: (script: string, file: string) => string },
): { readonly why: string; readonly hint: string } {
  const asked = `the language with ${by}: ${languageWords.join(', ')}`
  if (name === undefined)
    return { why: `its suffix "${suffix}" names no language`, hint: `Name ${asked}` }
  const base = file.slice(file.lastIndexOf('/') + 1)
  const script = tool.replaceAll('FILE', /^[\w.+-]+$/.test(base) ? base : 'FILE')
  const way = script === '' ? 'Nothing here runs it' : run(script, file)
  return {
    why: `its suffix "${suffix}" is that of ${name}, which is no language of a job`,
    hint: `${way}. For other code name ${asked}`,
  }
}
