import { exactDuration, exactSize } from '../contract/unit-text.ts'

/** Short forms of networks and folders. */
const SHORT: Readonly<Record<string, string>> = {
  '{"allow":[],"deny":[]}': 'none',
  '{"allow":"any","deny":[]}': 'open',
  '{"read":[],"write":[]}': 'none',
}
const SIZES = new Set(['memory', 'disk', 'output', 'result', 'artifacts', 'body', 'bytes'])
const DURATIONS = new Set(['timeout', 'drain', 'for', 'age', 'stronger_for', 'queue_wait'])

/** Formats a configuration or profile value: `128MB`, `5s`, `none`. `field` determines the unit. */
export function formatValue(field: string, value: unknown): string {
  const last = field.slice(field.lastIndexOf('.') + 1)
  if (field === 'escalation') return steps(value)
  if (field === 'restraint') return restraints(value)
  if (typeof value === 'number' && SIZES.has(last)) return exactSize(value)
  if (typeof value === 'number' && DURATIONS.has(last)) return exactDuration(value)
  return typeof value === 'string' ? value : (SHORT[JSON.stringify(value)] ?? JSON.stringify(value))
}

/** Display only: `3.1 MB`, `13.5 KB`. */
export function shownSize(bytes: number): string {
  const isSmall = bytes < 2 ** 20 / 10
  return isSmall ? `${(bytes / 2 ** 10).toFixed(1)} KB` : `${(bytes / 2 ** 20).toFixed(1)} MB`
}

/** `0 isolate, 40 process`: minimum tier from each risk. */
function steps(value: unknown): string {
  return (value as readonly { readonly at: number; readonly to: string }[])
    .map(({ at, to }) => `${at} ${to}`)
    .join(', ')
}

/** `20 cpu 0.75 io 64MB, 40 cpu 0.5 …`: restraints from each risk. */
function restraints(value: unknown): string {
  return (value as readonly (Readonly<Record<string, number>> & { readonly at: number })[])
    .map(({ at, io, ...shares }) => {
      const less = Object.entries(shares).filter(([, share]) => share < 1)
      const words = [...less.flat(), ...(io === undefined ? [] : ['io', exactSize(io)])]
      return `${at} ${words.join(' ')}`
    })
    .join(', ')
}
