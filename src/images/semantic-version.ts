import { compareDigits } from './debian-version.ts'

const form = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$/
const charactersMax = 256

/**
 * Compares two versions by Semantic Versioning 2.0.0, section 11: negative if `a` is older. A missing minor or patch
 * counts as 0, because records omit them. Undefined if one of them is not a version.
 */
export function compareSemanticVersions(a: string, b: string): number | undefined {
  const [one, other] = [partsOf(a), partsOf(b)]
  if (!one || !other) return undefined
  for (const [at, number] of one.numbers.entries()) {
    const order = compareDigits(number, other.numbers[at]!)
    if (order !== 0) return order
  }
  return comparePreRelease(one.pre, other.pre)
}

function partsOf(version: string) {
  const [, major, minor = '0', patch = '0', pre] =
    (version.length <= charactersMax && form.exec(version)) || []
  return major === undefined ? undefined : { numbers: [major, minor, patch], pre: pre?.split('.') }
}

function comparePreRelease(
  a: readonly string[] | undefined,
  b: readonly string[] | undefined,
): number {
  if (!a || !b) return Number(b !== undefined) - Number(a !== undefined)
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const [one, other] = [a[at], b[at]]
    if (one === undefined || other === undefined) return one === undefined ? -1 : 1
    const order = compareIdentifier(one, other)
    if (order !== 0) return order
  }
  return 0
}

function compareIdentifier(a: string, b: string): number {
  const [isNumber, isOtherNumber] = [/^\d+$/.test(a), /^\d+$/.test(b)]
  if (isNumber && isOtherNumber) return compareDigits(a, b)
  if (isNumber !== isOtherNumber) return isNumber ? -1 : 1
  return a === b ? 0 : a < b ? -1 : 1
}
