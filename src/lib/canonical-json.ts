/**
 * Canonical JSON: keys sorted by code unit, no white space, so that equal data has equal bytes. After RFC 8785;
 * numbers are JavaScript's own shortest form, which that RFC prescribes. Undefined members are left out, as
 * JSON.stringify does. Throws for values without a JSON form (NaN, BigInt; cycles by stack overflow).
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string')
    return JSON.stringify(value)
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`
  if (typeof value !== 'object')
    throw new TypeError(`Cannot write a ${typeof value} as canonical JSON`)
  const members = value as Record<string, unknown>
  let text = ''
  for (const key of Object.keys(members).toSorted()) {
    const member = members[key]
    if (member === undefined) continue
    text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(member)}`
  }
  return `{${text}}`
}
