// Every intrinsic used by the realm, taken before user code runs. The realm never looks up a method on an
// object afterwards, because user code can replace prototypes.
const { bind, call } = Function.prototype
const uncurry = bind.bind(call)
const { getOwnPropertyDescriptor: describe, getPrototypeOf } = Object
const getter = (object, key) => uncurry(describe(object, key).get)
const TypedArray = getPrototypeOf(Uint8Array)
const probe = { __proto__: null }
const hasWeak = uncurry(WeakMap.prototype.has)
const hasWeakMember = uncurry(WeakSet.prototype.has)

const { defineProperty } = Object
const { eval: evaluate } = globalThis
const { toStringTag } = Symbol
const define = (object, key, value, enumerable) =>
  defineProperty(object, key, {
    __proto__: null,
    value,
    writable: true,
    enumerable,
    configurable: true,
  })

const P = {
  __proto__: null,
  uncurry,
  // Constructors and namespaces
  ArrayBuffer,
  DataView,
  Date,
  Error,
  Map,
  Number,
  Object,
  Promise,
  Proxy,
  RangeError,
  RegExp,
  Set,
  String,
  SyntaxError,
  TypeError,
  Uint8Array,
  // Statics
  apply: Reflect.apply,
  get: Reflect.get,
  has: Reflect.has,
  ownKeys: Reflect.ownKeys,
  defineProperty,
  freeze: Object.freeze,
  descriptorOf: describe,
  /** Own property read without a getter: that of promises may be an accessor of `imports.js`. */
  constructorOf: (object) =>
    describe(object, 'constructor')?.value ??
    (object === P.PromisePrototype ? P.Promise : undefined),
  /** Indirect: a script of the global scope. */
  evaluate,
  prototypeOf: getPrototypeOf,
  setPrototypeOf: Object.setPrototypeOf,
  keys: Object.keys,
  is: Object.is,
  hasOwn: Object.hasOwn,
  isArray: Array.isArray,
  isError: Error.isError,
  isView: ArrayBuffer.isView,
  captureStackTrace: Error.captureStackTrace,
  parse: JSON.parse,
  stringify: JSON.stringify,
  now: Date.now,
  fromBase64: Uint8Array.fromBase64,
  fromCharCode: String.fromCharCode,
  bigIntAsIntN: BigInt.asIntN,
  max: Math.max,
  min: Math.min,
  trunc: Math.trunc,
  round: Math.round,
  sqrt: Math.sqrt,
  parseFloat,
  symbolIterator: Symbol.iterator,
  symbolToStringTag: toStringTag,
  symbolInspect: Symbol.for('nodejs.util.inspect.custom'),
  // Definitions: assignments that call no setter of user code
  put: (object, key, value) => define(object, key, value, true),
  hide: (object, key, value) => define(object, key, value, false),
  append: (list, value) => define(list, list.length, value, true),
  tag: (prototype, value) =>
    defineProperty(prototype, toStringTag, { __proto__: null, value, configurable: true }),
  /** Read-only properties: a function of the object for each. */
  getters: (prototype, readers) => {
    for (const name in readers) {
      const read = readers[name]
      const accessor = {
        __proto__: null,
        get() {
          return read(this)
        },
        configurable: true,
      }
      defineProperty(prototype, name, accessor)
    }
  },
  // Methods, uncurried: the receiver is the first argument
  arrayJoin: uncurry(Array.prototype.join),
  bigIntToString: uncurry(BigInt.prototype.toString),
  charCodeAt: uncurry(String.prototype.charCodeAt),
  dateGetTime: uncurry(Date.prototype.getTime),
  dateToISO: uncurry(Date.prototype.toISOString),
  functionToString: uncurry(Function.prototype.toString),
  indexOf: uncurry(String.prototype.indexOf),
  isEnumerable: uncurry(Object.prototype.propertyIsEnumerable),
  mapForEach: uncurry(Map.prototype.forEach),
  mapGet: uncurry(Map.prototype.get),
  mapHas: uncurry(Map.prototype.has),
  mapSet: uncurry(Map.prototype.set),
  mapDelete: uncurry(Map.prototype.delete),
  mapSize: getter(Map.prototype, 'size'),
  /** In an isolate the class is loaded later. */
  queryToString: globalThis.URLSearchParams && uncurry(URLSearchParams.prototype.toString),
  regExpExec: uncurry(RegExp.prototype.exec),
  regExpSlot: getter(RegExp.prototype, 'global'),
  regExpSource: getter(RegExp.prototype, 'source'),
  regExpFlags: getter(RegExp.prototype, 'flags'),
  setAdd: uncurry(Set.prototype.add),
  setDelete: uncurry(Set.prototype.delete),
  setForEach: uncurry(Set.prototype.forEach),
  setHas: uncurry(Set.prototype.has),
  setSize: getter(Set.prototype, 'size'),
  repeat: uncurry(String.prototype.repeat),
  slice: uncurry(String.prototype.slice),
  split: uncurry(String.prototype.split),
  symbolToString: uncurry(Symbol.prototype.toString),
  promiseThen: uncurry(Promise.prototype.then),
  toBase64: uncurry(Uint8Array.prototype.toBase64),
  toLowerCase: uncurry(String.prototype.toLowerCase),
  toUpperCase: uncurry(String.prototype.toUpperCase),
  trim: uncurry(String.prototype.trim),
  valueOfBigInt: uncurry(BigInt.prototype.valueOf),
  valueOfBoolean: uncurry(Boolean.prototype.valueOf),
  valueOfNumber: uncurry(Number.prototype.valueOf),
  valueOfString: uncurry(String.prototype.valueOf),
  valueOfSymbol: uncurry(Symbol.prototype.valueOf),
  // Slot checks: these throw, or return undefined, for objects without the internal slot
  bufferByteLength: getter(ArrayBuffer.prototype, 'byteLength'),
  bufferTransfer: uncurry(ArrayBuffer.prototype.transfer),
  typedTag: getter(TypedArray.prototype, Symbol.toStringTag),
  typedBuffer: getter(TypedArray.prototype, 'buffer'),
  typedOffset: getter(TypedArray.prototype, 'byteOffset'),
  typedByteLength: getter(TypedArray.prototype, 'byteLength'),
  typedLength: getter(TypedArray.prototype, 'length'),
  typedSet: uncurry(TypedArray.prototype.set),
  viewBuffer: getter(DataView.prototype, 'buffer'),
  viewOffset: getter(DataView.prototype, 'byteOffset'),
  viewByteLength: getter(DataView.prototype, 'byteLength'),
  weakMapProbe: (value) => hasWeak(value, probe),
  weakSetProbe: (value) => hasWeakMember(value, probe),
  // Prototypes, to recognise plain objects
  BigIntPrototype: BigInt.prototype,
  BooleanPrototype: Boolean.prototype,
  BufferPrototype: ArrayBuffer.prototype,
  DatePrototype: Date.prototype,
  MapPrototype: Map.prototype,
  NumberPrototype: Number.prototype,
  ObjectPrototype: Object.prototype,
  PromisePrototype: Promise.prototype,
  SetPrototype: Set.prototype,
  StringPrototype: String.prototype,
  SymbolPrototype: Symbol.prototype,
  typedArrays: {
    __proto__: null,
    BigInt64Array,
    BigUint64Array,
    // Missing in older engines, which load this file for `parse.js` alone.
    Float16Array: globalThis.Float16Array,
    Float32Array,
    Float64Array,
    Int8Array,
    Int16Array,
    Int32Array,
    Uint8Array,
    Uint8ClampedArray,
    Uint16Array,
    Uint32Array,
  },
  errors: [
    EvalError,
    RangeError,
    ReferenceError,
    SyntaxError,
    TypeError,
    URIError,
    AggregateError,
    globalThis.SuppressedError,
  ],
}

export { P }
