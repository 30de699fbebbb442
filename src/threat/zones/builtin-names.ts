/** Methods that mutate their receiver. */
export const mutatingMethods: ReadonlySet<string> = setOf(`
  push pop shift unshift splice sort reverse fill copyWithin set add delete clear
  append setTime setDate setHours setMinutes setMonth setFullYear setSeconds
  setMilliseconds setUTCDate setUTCHours
`)

/** Methods of built-in data that return a primitive. */
export const primitiveMethods: ReadonlySet<string> = setOf(`
  includes indexOf lastIndexOf join test startsWith endsWith trim trimStart trimEnd
  toUpperCase toLowerCase charAt charCodeAt codePointAt repeat padStart padEnd replace
  replaceAll substring normalize toFixed toString toISOString getTime some every
  localeCompare search findIndex findLastIndex push unshift forEach
`)

export const primitiveGlobals: ReadonlySet<string> = setOf(`
  String Number Boolean BigInt parseInt parseFloat isNaN isFinite encodeURIComponent
  decodeURIComponent encodeURI decodeURI atob btoa Math.* JSON.stringify Date.now
  Number.isInteger Number.isFinite Number.isNaN Number.isSafeInteger Number.parseInt
  Number.parseFloat Array.isArray Object.is String.fromCharCode String.fromCodePoint
  console.log console.error console.warn console.info performance.now
`)

/** Globals that return a new, unshared object. */
export const freshGlobals: ReadonlySet<string> = setOf(`
  Array Map Set Date Uint8Array Float64Array Int32Array Uint32Array Object.keys
  Object.entries Object.values Object.fromEntries Array.from Array.of JSON.parse
  structuredClone
`)

export const freshMethods: ReadonlySet<string> = setOf(`
  map filter slice concat flat flatMap split toSorted toReversed
`)

/** Array methods that call back with elements. */
export const arrayCallbacks: ReadonlySet<string> = setOf(`
  map filter forEach some every find findIndex findLast flatMap reduce reduceRight
  sort toSorted
`)

/** Properties inherited by all plain data: no data of its own. */
export const inheritedNames: ReadonlySet<string> = new Set(
  [{}, [], '', 0, true, 0n].flatMap((value) => {
    const names: string[] = []
    for (let at: unknown = Object(value); at; at = Object.getPrototypeOf(at))
      names.push(...Object.getOwnPropertyNames(at))
    return names.filter((name) => !/^(?:length|\d+)$/.test(name))
  }),
)

/** Globals that every zone has, with equal behaviour. */
export const zoneGlobals: ReadonlySet<string> = setOf(`
  undefined NaN Infinity Math JSON Object Array String Number Boolean BigInt Symbol
  Date RegExp Map Set Error TypeError RangeError SyntaxError URIError EvalError
  parseInt parseFloat isNaN isFinite encodeURIComponent decodeURIComponent encodeURI
  decodeURI Uint8Array Int8Array Uint16Array Int16Array Uint32Array Int32Array
  Float32Array Float64Array ArrayBuffer DataView Intl console call fetch
  structuredClone TextEncoder TextDecoder URL URLSearchParams atob btoa crypto
  performance
`)

/** Globals that give access to shared realm state, or to concurrency. */
export const loosening: ReadonlySet<string> = setOf(`
  globalThis window self global eval Function Proxy Reflect Promise setTimeout
  setInterval setImmediate queueMicrotask AbortSignal require AbortController
  EventTarget Atomics SharedArrayBuffer WeakRef Worker FinalizationRegistry
  WebAssembly process AsyncIterator Iterator
`)

export const looseningKeys: ReadonlySet<string> = setOf(`
  then catch finally constructor __proto__ prototype caller callee __defineGetter__
  __defineSetter__ __lookupGetter__ __lookupSetter__ call apply bind getPrototypeOf
  setPrototypeOf getOwnPropertyDescriptor getOwnPropertyDescriptors prepareStackTrace
  asyncIterator species toJSON toStringTag toPrimitive valueOf hasInstance stack $1 $2
  $3
`)

function setOf(words: string): ReadonlySet<string> {
  return new Set(words.trim().split(/\s+/))
}
