import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Records which bundles a command loads, also if another loader hook supplies their source, or if they are scripts. */
const PROBE = `
import { appendFileSync } from 'node:fs'
import module from 'node:module'
import vm from 'node:vm'
const real = module.registerHooks
const see = (url) => {
  const [place] = /(?:bundle|dist)\\/(?:small|mayfly)\\.c?js$|src\\/cli\\/main\\.[jt]s$/.exec(url) ?? []
  if (place) appendFileSync(process.env.LOADED_FILE, place + '\\n')
}
const seeing = ({ load, ...hooks }) =>
  real({ ...hooks, ...(load && { load: (url, context, next) => {
    const loaded = load(url, context, next)
    if (loaded.shortCircuit) see(url)
    return loaded
  } }) })
real({ load(url, context, next) { see(url); return next(url, context) } })
module.registerHooks = seeing
vm.Script = class extends vm.Script {
  constructor(source, options) {
    see(options?.filename ?? '')
    super(source, options)
  }
}
module.syncBuiltinESMExports()
`

export interface LoadProbe extends Disposable {
  /** Flags of Node and a variable for the command. */
  readonly flags: readonly string[]
  readonly env: { readonly LOADED_FILE: string }
  /** Bundles and sources loaded since the last call, in order. */
  take(): readonly string[]
}

export function probeLoads(): LoadProbe {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-loaded-'))
  const [probe, log] = [join(folder, 'probe.mjs'), join(folder, 'log')]
  writeFileSync(probe, PROBE)
  writeFileSync(log, '')
  return {
    flags: ['--disable-warning=ExperimentalWarning', '--import', probe],
    env: { LOADED_FILE: log },
    take() {
      const places = readFileSync(log, 'utf8').split('\n').filter(Boolean)
      writeFileSync(log, '')
      return places
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}
