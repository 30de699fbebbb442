import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { entries as bundled } from './pack-bundle.ts'

/** Modules that `exports` of package.json names. */
const entries = [...bundled, 'src/sdk/client.js']
/** A specifier of a declaration: behind `from`, `import` or in `import()`. */
const specifiers = /(\bfrom\s+|\bimport\s*\(?\s*)(['"])(\.\.?\/[^'"]+)\2/g
/** A policy as a module. The compiler leaves out its `with`, and then refuses what it wrote. */
const jsonImport = /^import (\w+) from '(\.\.?\/[^']+\.json)'.*$/gm
/** Types that older libraries of the compiler lack. */
const disposables = /\b(?:Async)?Disposable\b|\bSymbol\.(?:asyncDispose|dispose)\b/
const library = '/// <reference lib="esnext.disposable" />\n'

/** Writes the declarations that others see: of the entries, and of what these name. */
export function writeTypes(root: string, into: string): void {
  const all = mkdtempSync(join(root, '.cache/types-'))
  try {
    declare(root, all)
    const taken = new Set(entries.map(declarationOf))
    for (const file of taken) {
      const text = readFileSync(join(all, file), 'utf8').replace(
        jsonImport,
        (_, name: string, path: string) =>
          `declare const ${name}: ${typeOf(jsonAt(join(root, dirname(file), path)))}`,
      )
      const place = join(into, file)
      mkdirSync(dirname(place), { recursive: true })
      writeFileSync(
        place,
        (disposables.test(text) ? library : '') +
          text.replace(specifiers, (_, before: string, quote: string, to: string) => {
            taken.add(join(dirname(file), declarationOf(to)))
            return `${before}${quote}${to.replace(/\.ts$/, '.js')}${quote}`
          }),
      )
    }
  } finally {
    rmSync(all, { recursive: true, force: true })
  }
}

function declarationOf(path: string): string {
  return path.replace(/\.[jt]s$/, '.d.ts')
}

function jsonAt(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'))
}

function typeOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value
  if (Array.isArray(value)) return 'readonly unknown[]'
  const members = Object.entries(value).map(
    ([key, one]) => `${JSON.stringify(key)}: ${typeOf(one)}`,
  )
  return `{ ${members.join('; ')} }`
}

/** `npm run ci -- types` checks the types; here they are only written. */
function declare(root: string, into: string): void {
  const config = join(into, 'tsconfig.json')
  const compilerOptions = {
    noCheck: true,
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    rootDir: root,
    outDir: into,
    typeRoots: [join(root, 'node_modules/@types')],
  }
  const files = entries.map((file) => join(root, file))
  const extending = { extends: join(root, 'tsconfig.json'), compilerOptions, include: [], files }
  writeFileSync(config, JSON.stringify(extending))
  execFileSync('tsc', ['--project', config], { stdio: ['ignore', 2, 2] })
}
