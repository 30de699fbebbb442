const form = /^(?:(\d{1,9}):)?([A-Za-z0-9][A-Za-z0-9.+~:-]*?)(?:-([A-Za-z0-9.+~]+))?$/
const charactersMax = 256

/**
 * Compares two versions by deb-version(7): negative if `a` is older. Order: epoch as a number, upstream version,
 * revision; the latter two by alternating parts of non-digits (`~` before the end of a part, letters before the rest)
 * and digits. Undefined if one of them is not a version.
 */
export function compareDebianVersions(a: string, b: string): number | undefined {
  const [one, other] = [partsOf(a), partsOf(b)]
  if (!one || !other) return undefined
  return (
    one.epoch - other.epoch ||
    comparePart(one.upstream, other.upstream) ||
    comparePart(one.revision, other.revision)
  )
}

function partsOf(version: string) {
  if (version.length > charactersMax) return undefined
  const [, epoch, upstream, revision = ''] = form.exec(version) ?? []
  if (upstream === undefined || (epoch === undefined && upstream.includes(':'))) return undefined
  return { epoch: Number(epoch ?? 0), upstream, revision }
}

function comparePart(a: string, b: string): number {
  for (let [i, j] = [0, 0]; i < a.length || j < b.length;) {
    for (; isOther(a[i]) || isOther(b[j]); i += 1, j += 1) {
      const order = weightOf(a[i]) - weightOf(b[j])
      if (order !== 0) return order
    }
    const [one, other] = [digitsAt(a, i), digitsAt(b, j)]
    const order = compareDigits(one, other)
    if (order !== 0) return order
    i += one.length
    j += other.length
  }
  return 0
}

function isOther(character: string | undefined): boolean {
  return character !== undefined && !isDigit(character)
}

function isDigit(character: string): boolean {
  return character >= '0' && character <= '9'
}

/** A digit, or the end, is 0. */
function weightOf(character: string | undefined): number {
  if (character === undefined || isDigit(character)) return 0
  if (character === '~') return -1
  const code = character.charCodeAt(0)
  return /[A-Za-z]/.test(character) ? code : code + 256
}

function digitsAt(text: string, from: number): string {
  let to = from
  while (to < text.length && isDigit(text[to]!)) to += 1
  return text.slice(from, to)
}

/** Compares decimal numbers of any length. */
export function compareDigits(a: string, b: string): number {
  const [one, other] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')]
  if (one.length !== other.length) return one.length - other.length
  return one === other ? 0 : one < other ? -1 : 1
}
