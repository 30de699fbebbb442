const { hasOwn } = Object

/**
 * True if an object has an own property. `in` would also search its prototype, to which a cell of a session may have added
 * any name.
 * @template {object} T
 * @template {PropertyKey} K
 * @param {T} value
 * @param {K} name
 * @returns {value is Extract<T, Record<K, unknown>>}
 */
export function has(value, name) {
  return hasOwn(value, name)
}
