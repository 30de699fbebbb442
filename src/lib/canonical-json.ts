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
  return `{${Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`)
    .join(',')}}`
}
