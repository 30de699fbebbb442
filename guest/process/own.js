const { hasOwn } = Object

/**
 * Whether an object of ours has a property itself. `in` asks its prototype as well, where a cell of a session may have put
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
