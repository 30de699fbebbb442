import type { Capability, IsolatedCapability, SafeCapability } from '../contract/capability.ts'

/**
 * Built-in capabilities. Those that need network or files are isolated and get only what `[capability_configs]`
 * grants; by default nothing.
 */
export const builtin: readonly Capability[] = [
  {
    ...isolated('ccos.network.http-fetch'),
    description: '[url, {method, headers, body}] → {status, url, headers, body}',
    code: `
const [url, { method, headers, body } = {}] = input
if (typeof fetch !== 'function')
  throw new Error('Cannot fetch: give "ccos.network.http-fetch" a network_policy in [capability_configs]')
const response = await fetch(url, { method, headers, body })
return {
  status: response.status,
  url: response.url,
  headers: Object.fromEntries(response.headers),
  body: await response.text(),
}`,
  },
  fileCapability('ccos.io.read-file', 'read', '[path, "utf8" or "base64"] → its content'),
  fileCapability('ccos.io.write-file', 'write', '[path, content, "utf8" or "base64"] → its size'),
  fileCapability('ccos.io.list-files', 'list', '[folder] → [{name, kind}]'),
  safe('math.add', 'the sum of its arguments', (...all) => numbers(all).reduce((a, b) => a + b, 0)),
  safe('math.subtract', '[a, b] → a − b', (a, b) => of(a) - of(b)),
  safe('math.multiply', 'the product of its arguments', (...all) =>
    numbers(all).reduce((a, b) => a * b, 1),
  ),
  safe('math.divide', '[a, b] → a ÷ b', (a, b) => of(a) / of(b)),
]

function isolated(
  name: string,
): Pick<IsolatedCapability, 'name' | 'isolated' | 'language' | 'entry'> {
  return { name, isolated: true, language: 'js', entry: 'body' }
}

/** File access goes through `mayfly.files`, where each call is checked against the granted folders. */
function fileCapability(name: string, verb: string, description: string): IsolatedCapability {
  const rest = verb === 'write' ? 'content: input[1], encoding: input[2]' : 'encoding: input[1]'
  const code = `
try {
  return await call('mayfly.files', { verb: '${verb}', path: input[0], ${rest} })
} catch (error) {
  if (error.code !== 'CAPABILITY_DENIED') throw error
  throw new Error('Cannot reach files: give "${name}" an fs_policy in [capability_configs]')
}`
  return { ...isolated(name), description, code }
}

function safe(
  name: string,
  description: string,
  run: (...args: readonly unknown[]) => unknown,
): SafeCapability {
  return { name, description, isolated: false, run }
}

function numbers(all: readonly unknown[]): readonly number[] {
  return all.map(of)
}

function of(value: unknown): number {
  if (typeof value === 'number') return value
  throw new TypeError(
    `Cannot calculate with a ${value === null ? 'null' : typeof value}: expected numbers`,
  )
}
