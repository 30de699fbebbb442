import { REALM_FILE } from './parts.js'
import { importRefused, Refusal, syntaxError } from './failure.js'

/**
 * Module graph of a job: the source and its files, linked inside the isolate. CommonJS files imported by ES
 * modules are run at link time, by the realm's own loader, because their exported names are unknown before.
 */
export class Modules {
  #isolate
  #context
  #files
  #run
  #main
  #name
  #source = ''
  #realm
  #ours = new Set()
  #compiled = new Map()
  #paths = new Map()

  /**
   * @param {object} parts
   * @param {import('isolated-vm').Isolate} parts.isolate
   * @param {import('isolated-vm').Context} parts.context
   * @param {import('./files.js').Files} parts.files
   * @param {string} parts.name file name of the job's source
   * @param {(path: string) => string} parts.require runs a CommonJS or JSON file in the realm; JSON text of its names
   */
  constructor({ isolate, context, files, name, require }) {
    this.#isolate = isolate
    this.#context = context
    this.#files = files
    this.#name = name
    this.#run = require
  }

  /** Compiles the source; throws Refusal with its position if it is not a module. */
  compile(source, code) {
    this.#source = source
    this.#main = this.#module(this.#name, code)
  }

  /** Evaluated once and first: removes the realm's entry point from the global object. */
  open(timeout) {
    this.#realm = this.#inner('export const realm = job')
    this.#realm.instantiateSync(this.#context, () => undefined)
    this.#realm.evaluateSync({ timeout })
  }

  /**
   * Root module that passes the source's namespace to the realm after its complete evaluation, awaits included.
   */
  link() {
    return this.#root(
      'import { realm } from "realm"; import * as main from "main"; realm.exported(main)',
    )
  }

  /** Root module that passes the namespace of a file to the realm, for one import of a cell. @param {string} path @param {number} id */
  load(path, id) {
    this.#main = this.#at(path)
    return this.#root(
      `import { realm } from "realm"; import * as main from "main"; realm.loaded(${id}, main)`,
    )
  }

  /** Root module that only imports the source: evaluating it throws only if the source failed. */
  probe() {
    return this.#root('import * as main from "main"; export default main')
  }

  #root(code) {
    const root = this.#inner(code)
    try {
      root.instantiateSync(this.#context, (specifier, from) => this.#resolve(specifier, from))
      return root
    } catch (error) {
      // For example, a name that a file does not export.
      throw error?.name === 'SyntaxError' ? new Refusal(syntaxError(error, '')) : error
    }
  }

  /** Internal module, which alone may import the realm. Identified by object, since files may have any name. */
  #inner(code) {
    const module = this.#isolate.compileModuleSync(code, { filename: REALM_FILE })
    this.#ours.add(module)
    return module
  }

  #resolve(specifier, referrer) {
    if (this.#ours.has(referrer)) return specifier === 'main' ? this.#main : this.#realm
    const from = this.#paths.get(referrer)
    const path = this.#files.resolve(from, specifier, 'import')
    if (path === undefined) throw new Refusal(importRefused(specifier, from))
    return this.#at(path)
  }

  #at(path) {
    const known = this.#compiled.get(path)
    if (known !== undefined) return known
    // The job's files include its own source.
    if (path === this.#name && this.#files.isSame(path, this.#source)) return this.#main
    const isEsm = this.#files.kind(path) === 'esm'
    const module = isEsm ? this.#module(path, this.#files.text(path)) : this.#bridge(path)
    this.#compiled.set(path, module)
    return module
  }

  /** ES module with the names that a CommonJS or JSON file exported at link time. */
  #bridge(path) {
    const names = JSON.parse(this.#run(path)).filter((name) => name !== 'default')
    const held = names.map((_name, index) => `n${index}`)
    const lines = [
      'import { realm } from "realm"',
      `const { value, names } = realm.bridge(${JSON.stringify(path)})`,
      'export default value',
      ...names.map((name, index) => `const ${held[index]} = names[${index}]`),
      `export { ${names.map((name, index) => `${held[index]} as ${JSON.stringify(name)}`).join(', ')} }`,
    ]
    return this.#inner(lines.join('\n'))
  }

  #module(path, code) {
    try {
      const module = this.#isolate.compileModuleSync(code, { filename: path })
      this.#paths.set(module, path)
      return module
    } catch (error) {
      throw this.#isolate.isDisposed ? error : new Refusal(syntaxError(error, code, path))
    }
  }
}
