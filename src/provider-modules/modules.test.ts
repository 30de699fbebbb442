import assert from 'node:assert/strict'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, suite, test } from 'node:test'
import { systemClock } from '../contract/clock.ts'
import type { MayflyError } from '../contract/error.ts'
import type { Profile } from '../contract/profile.ts'
import type { Provider } from '../contract/provider.ts'
import { createMockProvider } from '../tiers/mock/provider.ts'
import { moduleBounds, type ModuleBounds } from './bounded.ts'
import { ProviderModules, type ListedModule, type ModuleHost } from './modules.ts'

const base = mkdtempSync(join(tmpdir(), 'mayfly-modules-'))
const owners = new Set([0, process.getuid?.() ?? 0])
let opened: ProviderModules | undefined

/** Source of a provider without a wall, with additional members of it and of its sandbox. */
const source = (name: string, members = '', ofSandbox = '') => `export default {
  name: '${name}', tier: 'none', languages: ['js'], enforces: [], tightens: [], can: [],
  detect: async () => ({ available: true, strength: 0, layers: [], missing: [] }),
  launch: async () => Object.freeze({
    id: '1', provider: 'inner', image: 'none', pool: 'none',
    run() {}, tighten() {}, freeze() {}, thaw() {}, watch() {}, capture() {}, kill() {},
    async [Symbol.asyncDispose]() {}, ${ofSandbox}
  }),
  ${members}
}`

const hurried: ModuleBounds = {
  importMsMax: 2_500,
  probeMsMax: 1_000,
  loopMsMax: 700,
  launchMsMax: 800,
  disposeMsMax: 800,
}

interface Stand extends ModuleHost {
  readonly folder: string
  readonly modules: ProviderModules
  readonly serving: Map<string, ListedModule>
  readonly refused: () => Readonly<Record<string, readonly [code: string, reason: string]>>
  readonly told: string[]
  /** Writes a module by renaming a complete file to its path, as an operator should. */
  drop(file: string, text: string): void
}

function makeStand(
  name: string,
  host: Partial<ModuleHost> = {},
  bounds: ModuleBounds = moduleBounds,
): Stand {
  const folder = join(base, name)
  mkdirSync(folder, { mode: 0o755 })
  const serving = new Map<string, ListedModule>()
  const told: string[] = []
  let refused: readonly ListedModule[] = []
  const all: ModuleHost = {
    base: async () => undefined,
    isTaken: (one) => one === 'embedded',
    serve: (listed) => void serving.set(listed.provider.name, listed),
    withdraw: (one) => void serving.delete(one),
    list: (listed) => void (refused = listed),
    tell: (point, { provider }) => void told.push(`${point} ${String(provider)}`),
    ...host,
  }
  const parts = { places: { folder, modules: [] }, trust: { owners, jobFolders: [] } }
  const modules = new ProviderModules({ ...parts, host: all, baitFolders: [tmpdir()], bounds })
  opened = modules
  return {
    ...all,
    folder,
    modules,
    serving,
    told,
    refused: () =>
      Object.fromEntries(
        refused.map(({ provider: { name: one }, availability }) => {
          const { code, reason } = availability as Extract<typeof availability, { code: string }>
          return [one, [code, reason.replace(/^Cannot use the provider module "[^"]*": /, '')]]
        }),
      ),
    drop(file, text) {
      writeFileSync(join(folder, `.${file}`), text, { mode: 0o644 })
      renameSync(join(folder, `.${file}`), join(folder, file))
    },
  }
}

const profileFor = (provider: Pick<Provider, 'name' | 'tier'>) =>
  ({ provider: provider.name, tier: provider.tier, language: 'js' }) as Profile

suite('Provider modules', { skip: process.platform === 'win32' }, () => {
  afterEach(() => opened?.close())
  after(() => rmSync(base, { recursive: true }))

  test('S4-3: an added module serves, a changed module is loaded anew, and a removed module is withdrawn', async () => {
    const { modules, drop, serving, told, folder } = makeStand('life')
    await modules.settle()
    assert.deepEqual([...serving.keys()], [])
    drop('a.js', source('first'))
    await modules.settle()
    const before = serving.get('first')?.provider
    assert.equal(serving.get('first')?.module, join(folder, 'a.js'))
    drop('a.js', source('first', `isByNameAlone: true,`))
    await modules.settle()
    const now = serving.get('first')?.provider
    assert.equal(now?.isByNameAlone, true)
    await assert.rejects(before!.launch(profileFor(before!), systemClock), {
      code: 'UNAVAILABLE',
      message: 'Cannot use provider "first": its module has changed',
    })
    unlinkSync(join(folder, 'a.js'))
    await modules.settle()
    assert.equal(serving.size, 0)
    assert.deepEqual(told, [
      'provider/loaded first',
      'provider/removed first',
      'provider/loaded first',
      'provider/removed first',
    ])
  })

  test('a removed module is closed after the last of its sandboxes', async () => {
    const { modules, drop, serving, folder } = makeStand('close')
    drop('a.js', source('closes', `close() { globalThis.closedModules = 1 },`))
    await modules.settle()
    const { provider } = serving.get('closes')!
    const sandbox = await provider.launch(profileFor(provider), systemClock)
    assert.equal(sandbox.provider, 'closes')
    unlinkSync(join(folder, 'a.js'))
    await modules.settle()
    assert.equal(Reflect.get(globalThis, 'closedModules'), undefined)
    await sandbox[Symbol.asyncDispose]()
    await sandbox[Symbol.asyncDispose]()
    await provider.close?.()
    assert.equal(Reflect.get(globalThis, 'closedModules'), 1)
  })

  test('S4-15: a broken module is listed with its cause, and affects no other', async () => {
    const { modules, drop, serving, refused } = makeStand('broken')
    drop('good.js', source('good'))
    drop('syntax.js', 'export default {\n  name: }')
    drop('nothing.js', 'export const provider = 1')
    drop('shape.js', source('shape', `tightens: ['everything'],`))
    drop('member.js', `export default { name: 'member', on: 'process', memory: 1 }`)
    drop('throws.js', `throw new Error('no such luck')`)
    drop('later.js', `setImmediate(() => { throw new Error('too late') }); export default {}`)
    drop('exits.js', 'process.exit(3)')
    drop('probe.js', source('probe', `detect() { throw new Error('no guest') },`))
    drop('answer.js', source('answer', `detect: async () => true,`))
    drop(
      'absent.js',
      source(
        'absent',
        `detect: async () => ({ available: false, code: 'NO', reason: 'Not here', fix: 'Buy it' }),`,
      ),
    )
    drop('taken.js', source('embedded'))
    drop('on.js', `export default { name: 'on', on: 'hope' }`)
    await modules.settle()
    assert.deepEqual([...serving.keys()], ['good'])
    const { absent, ...others } = refused()
    assert.deepEqual(absent, ['NO', 'Not here'])
    const reasons = Object.entries(others).map(([name, [code, reason]]) => {
      assert.equal(code, 'PROVIDER_BROKEN', name)
      return [name, reason]
    })
    assert.deepEqual(Object.fromEntries(reasons), {
      syntax: "Unexpected token '}'",
      nothing: 'it exports no provider as its default',
      shape:
        'its default export is wrong: tightens.0: Invalid option: expected one of "network"|"files"|"cpu"|"memory"|"io"|"processes"|"syscalls"|"capabilities"',
      member: 'its default export is wrong: Unrecognized key: "memory"',
      throws: 'no such luck',
      later: 'too late',
      exits: 'it ended the process that imports it',
      probe: 'no guest',
      answer: 'its probe answered wrongly: Invalid input: expected object, received boolean',
      taken: 'its name "embedded" is that of another provider',
      on: 'on: there is no provider or tier "hope"',
    })
  })

  test('a module that hangs in its import or probe is timed out', async () => {
    const { modules, drop, serving, refused } = makeStand('hangs', {}, hurried)
    drop('good.js', source('good'))
    drop('import.js', 'for (;;);')
    drop('awaits.js', 'await new Promise(() => {})')
    drop('spins.js', source('spins', `detect() { for (;;); },`))
    drop('waits.js', source('waits', `detect: () => new Promise(() => {}),`))
    await modules.settle()
    assert.deepEqual([...serving.keys()], ['good'])
    assert.deepEqual(refused(), {
      import: ['PROVIDER_BROKEN', 'its import took longer than 2500 ms'],
      awaits: ['PROVIDER_BROKEN', 'its import took longer than 2500 ms'],
      spins: ['PROVIDER_BROKEN', 'it ran for 700 ms without a pause'],
      waits: ['PROVIDER_BROKEN', 'its probe took longer than 1000 ms'],
    })
  })

  test('a launch that hangs is timed out, in the proof and for a job', async () => {
    const { modules, drop, serving, refused } = makeStand('launches', {}, hurried)
    const claim = `tier: 'process', detect: async () => ({ available: true, strength: 3, layers: [], missing: [] }),`
    const hangs = 'launch: () => new Promise(() => {}),'
    drop('claims.js', source('claims', claim + hangs))
    drop('hangs.js', source('hangs', hangs))
    drop('spins.js', source('spins', 'launch() { for (;;); },'))
    await modules.settle()
    assert.match(String(refused()['claims']), /did not hold network .*its launch took longer than/)
    const reasons = ['hangs', 'spins'].map(async (name) => {
      const { provider } = serving.get(name)!
      const launched = provider.launch(profileFor(provider), systemClock)
      return await launched.catch(({ code, message }: MayflyError) => [code, message])
    })
    assert.deepEqual(await Promise.all(reasons), [
      ['UNAVAILABLE', 'Cannot use provider "hangs": its launch took longer than 800 ms'],
      ['UNAVAILABLE', 'Cannot use provider "spins": it ran for 700 ms without a pause'],
    ])
  })

  test('a sandbox of the wrong shape is no sandbox, and a disposal that hangs is timed out', async () => {
    const { modules, drop, serving } = makeStand('sandboxes', {}, hurried)
    drop('empty.js', source('empty', 'launch: async () => undefined,'))
    drop('less.js', source('less', '', 'watch: undefined, id: 7,'))
    drop('stays.js', source('stays', '', '[Symbol.asyncDispose]: undefined,'))
    drop('throws.js', source('throws', 'launch() { throw undefined },'))
    drop('hangs.js', source('hangs', '', '[Symbol.asyncDispose]: () => new Promise(() => {}),'))
    await modules.settle()
    const launch = (name: string) => {
      const { provider } = serving.get(name)!
      return provider.launch(profileFor(provider), systemClock)
    }
    const reasons = {
      empty: 'its sandbox is wrong: Invalid input: expected object, received undefined',
      less: 'its sandbox is wrong: id: Invalid input: expected string, received number',
      stays: 'its sandbox is wrong: Symbol(Symbol.asyncDispose): expected a function',
      throws: 'undefined',
    }
    for (const [name, reason] of Object.entries(reasons))
      await assert.rejects(launch(name), {
        code: 'UNAVAILABLE',
        message: `Cannot use provider "${name}": ${reason}`,
      })
    const sandbox = await launch('hangs')
    await assert.rejects(async () => await sandbox[Symbol.asyncDispose](), {
      message: 'its disposal took longer than 800 ms',
    })
  })

  test('S4-15: a serving module is withdrawn as soon as others may write to it', async () => {
    const { modules, drop, serving, refused, folder } = makeStand('trust')
    drop('a.js', source('trusted'))
    await modules.settle()
    assert.deepEqual([...serving.keys()], ['trusted'])
    chmodSync(join(folder, 'a.js'), 0o646)
    await modules.settle()
    assert.equal(serving.size, 0)
    assert.equal(refused()['a']?.[0], 'PROVIDER_UNTRUSTED')
    chmodSync(join(folder, 'a.js'), 0o644)
    await modules.settle()
    assert.deepEqual([...serving.keys()], ['trusted'])
  })

  test('an imported file is checked too, and reloaded with a changed module', async () => {
    const { modules, drop, serving, refused, folder } = makeStand('imports')
    mkdirSync(join(folder, 'parts'))
    const part = join(folder, 'parts', 'name.js')
    const text = `import { name } from './parts/name.js'
import { MayflyError } from 'mayfly'
import { isAbsolute } from 'node:path'
${source('').replace(`name: ''`, 'name: MayflyError && isAbsolute && name')}`
    writeFileSync(part, `export const name = 'one'`)
    drop('a.js', text)
    await modules.settle()
    assert.deepEqual([...serving.keys()], ['one'])
    writeFileSync(part, `export const name = 'two'`)
    drop('a.js', text)
    await modules.settle()
    assert.deepEqual([...serving.keys()], ['two'])
    chmodSync(part, 0o666)
    drop('a.js', `${text}\n`)
    await modules.settle()
    assert.equal(serving.size, 0)
    assert.match(String(refused()['a']), /^PROVIDER_UNTRUSTED,.*everybody may write/)
  })

  test('two modules with the same name: the first one serves, and the other one after its removal', async () => {
    const { modules, drop, serving, refused, folder } = makeStand('twice')
    drop('a.js', source('one'))
    await modules.settle()
    drop('b.js', source('one'))
    await modules.settle()
    assert.equal(serving.get('one')?.module, join(folder, 'a.js'))
    assert.match(String(refused()['b']), /its name "one" is that of the module ".*a\.js"/)
    unlinkSync(join(folder, 'a.js'))
    await modules.settle()
    assert.equal(serving.get('one')?.module, join(folder, 'b.js'))
  })

  test('a probe that proves less or more than the tier is refused', async () => {
    const { modules, drop, serving, refused } = makeStand('strength')
    const proving = (strength: number) =>
      `detect: async () => ({ available: true, strength: ${strength}, layers: [], missing: [] }),`
    drop('less.js', source('less', `tier: 'microvm', ${proving(3)}`))
    drop('more.js', source('more', proving(5)))
    await modules.settle()
    assert.equal(serving.size, 0)
    assert.deepEqual(refused(), {
      less: [
        'PROVIDER_UNPROVED',
        'it claims tier "microvm" of strength 5, and its probe proved strength 3',
      ],
      more: [
        'PROVIDER_UNPROVED',
        'it claims tier "none" of strength 0, and its probe proved strength 5',
      ],
    })
  })

  test('a claim that no guest can test is refused, and a guest that escapes refutes it', async () => {
    const { modules, drop, refused } = makeStand('claims')
    const claim = `tier: 'process', detect: async () => ({ available: true, strength: 3, layers: [], missing: [] }),`
    drop('shell.js', source('shell', `${claim} languages: ['sh'],`))
    drop('open.js', source('open', claim))
    await modules.settle()
    const found = refused()
    assert.deepEqual(found['shell'], [
      'PROVIDER_UNPROVED',
      'it claims tier "process", and no guest of the proof runs in sh',
    ])
    assert.equal(found['open']?.[0], 'PROVIDER_UNPROVED')
    assert.match(found['open']?.[1] ?? '', /^it claims tier "process", and did not hold network/)
  })

  test('a composed wall has no more abilities than its base provider', async () => {
    const mock = createMockProvider({ environment: 'test' })
    const inner: Provider = {
      ...mock,
      name: 'inner',
      languages: ['js'],
      can: ['files'],
      tier: 'none',
    }
    const base = { provider: inner, availability: await mock.detect() }
    const { modules, drop, serving, refused } = makeStand('composed', { base: async () => base })
    drop('less.js', `export default { name: 'less', on: 'inner', can: [] }`)
    drop('langs.js', `export default { name: 'langs', on: 'inner', languages: ['python'] }`)
    drop('can.js', `export default { name: 'can', on: 'inner', can: ['network'] }`)
    drop('tier.js', `export default { name: 'tier', on: 'inner', tier: 'microvm' }`)
    await modules.settle()
    assert.deepEqual([...serving.keys()], ['less'])
    assert.deepEqual(serving.get('less')?.provider.can, [])
    assert.deepEqual(refused(), {
      langs: ['PROVIDER_BROKEN', 'languages: "inner" has no "python"'],
      can: ['PROVIDER_BROKEN', 'can: "inner" has no "network"'],
      tier: [
        'PROVIDER_UNPROVED',
        'it claims tier "microvm" of strength 5, and its probe proved strength 0',
      ],
    })
  })

  test('a module whose load cannot be recorded does not serve', async () => {
    const tell = () => {
      throw new Error('the disk is full')
    }
    const { modules, drop, serving, refused } = makeStand('record', { tell })
    drop('a.js', source('one'))
    await modules.settle()
    assert.equal(serving.size, 0)
    assert.deepEqual(refused()['one'], ['PROVIDER_BROKEN', 'the disk is full'])
  })
})
