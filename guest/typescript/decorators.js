/**
 * Runtime helpers of decorators, as text to prepend. Legacy decorators (`legacy`) are called as TypeScript's
 * compiler does. Standard ones are supported for classes and methods; on a field or accessor they are refused
 * by name, because its initialiser is out of reach here.
 * @param {boolean} legacy
 */
export function decorators(legacy) {
  return `const babelHelpers = (${(legacy ? older : current).toString()})();`
}

function older() {
  const { getOwnPropertyDescriptor, defineProperty } = Object
  return {
    decorate(list, target, key, kind) {
      const count = arguments.length
      let result = count < 3 ? target : kind === null ? getOwnPropertyDescriptor(target, key) : kind
      for (let index = list.length - 1; index >= 0; index--) {
        const own = list[index]
        if (!own) continue
        result =
          (count < 3 ? own(result) : count > 3 ? own(target, key, result) : own(target, key)) ||
          result
      }
      if (count > 3 && result) defineProperty(target, key, result)
      return result
    },
    decorateParam: (index, own) => (target, key) => own(target, key, index),
    decorateMetadata: (key, value) => {
      if (typeof Reflect.metadata === 'function') return Reflect.metadata(key, value)
    },
  }
}

function current() {
  const { getOwnPropertyDescriptor, defineProperty } = Object
  const refuse = (what) => {
    throw new TypeError(
      'Cannot decorate ' +
        what +
        ': only classes and methods can be, unless tsconfig.json says experimentalDecorators',
    )
  }
  const later = (added, value) => {
    if (typeof value !== 'function') throw new TypeError('An initializer is a function')
    added.push(value)
  }
  return {
    decorate(list, target, key, kind) {
      if (arguments.length < 3) {
        const added = []
        let result = target
        for (let index = list.length - 1; index >= 0; index--) {
          const context = {
            kind: 'class',
            name: target.name,
            metadata: undefined,
            addInitializer: (value) => later(added, value),
          }
          result = list[index](result, context) ?? result
        }
        for (const one of added) one.call(result)
        return result
      }
      const isStatic = typeof target === 'function'
      const name = typeof key === 'symbol' ? key : String(key)
      if (kind !== null) refuse('the field "' + String(name) + '"')
      const property = getOwnPropertyDescriptor(target, key)
      const slot =
        property.value !== undefined ? 'value' : property.get !== undefined ? 'get' : 'set'
      const access = { has: (object) => key in object, get: (object) => object[key] }
      for (let index = list.length - 1; index >= 0; index--) {
        const context = {
          kind: slot === 'value' ? 'method' : slot === 'get' ? 'getter' : 'setter',
          name,
          static: isStatic,
          private: false,
          access,
          metadata: undefined,
          addInitializer: () => refuse('"' + String(name) + '" with an initializer'),
        }
        property[slot] = list[index](property[slot], context) ?? property[slot]
      }
      defineProperty(target, key, property)
    },
    decorateParam: (index) => refuse('the parameter ' + (index + 1)),
    decorateMetadata: () => (value) => value,
  }
}
