import { P } from './primordials.js'

const CODES = {
  __proto__: null,
  IndexSizeError: 1,
  HierarchyRequestError: 3,
  WrongDocumentError: 4,
  InvalidCharacterError: 5,
  NoModificationAllowedError: 7,
  NotFoundError: 8,
  NotSupportedError: 9,
  InUseAttributeError: 10,
  InvalidStateError: 11,
  SyntaxError: 12,
  InvalidModificationError: 13,
  NamespaceError: 14,
  InvalidAccessError: 15,
  TypeMismatchError: 17,
  SecurityError: 18,
  NetworkError: 19,
  AbortError: 20,
  URLMismatchError: 21,
  QuotaExceededError: 22,
  TimeoutError: 23,
  InvalidNodeTypeError: 24,
  DataCloneError: 25,
}

let isDOMException

class DOMException extends P.Error {
  #name
  static {
    isDOMException = (value) => #name in value
  }
  constructor(message = '', options = 'Error') {
    const isObject = typeof options === 'object' && options !== null
    super(P.String(message), isObject && 'cause' in options ? { cause: options.cause } : undefined)
    this.#name = P.String((isObject ? options.name : options) ?? 'Error')
  }
  get name() {
    return this.#name
  }
  get code() {
    return CODES[this.#name] ?? 0
  }
}
P.tag(DOMException.prototype, 'DOMException')

export { DOMException, isDOMException }
