'use strict';

// 1. observable object
function observable(target, onChange, path = []) {
  return new Proxy(target, {
    get(obj, key, receiver) {
      const value = Reflect.get(obj, key, receiver);
      return value && typeof value === 'object' ? observable(value, onChange, [...path, key]) : value;
    },
    set(obj, key, value, receiver) {
      const old = obj[key];
      const ok = Reflect.set(obj, key, value, receiver);
      if (old !== value) onChange([...path, key].join('.'), old, value);
      return ok;
    },
    deleteProperty(obj, key) {
      onChange([...path, key].join('.'), obj[key], undefined);
      return delete obj[key];
    },
  });
}

const state = observable({ user: { name: 'kim', tags: ['a'] }, count: 0 }, (path, from, to) => {
  console.log(`  ${path}: ${JSON.stringify(from)} -> ${JSON.stringify(to)}`);
});
console.log('changes:');
state.count++;
state.count = 1;
state.user.name = 'sam';
state.user.tags.push('b');
delete state.user.tags;

// 2. validation
const typed = (schema) =>
  new Proxy({}, {
    set(obj, key, value) {
      if (!(key in schema)) throw new ReferenceError(`unknown field "${String(key)}"`);
      if (typeof value !== schema[key]) throw new TypeError(`${key} must be a ${schema[key]}, got ${typeof value}`);
      obj[key] = value;
      return true;
    },
  });
const person = typed({ name: 'string', age: 'number' });
for (const [k, v] of [['name', 'Lee'], ['age', '12'], ['agee', 12], ['age', 12]]) {
  try {
    person[k] = v;
  } catch (e) {
    console.log(`${e.name}: ${e.message}`);
  }
}
console.log(person);

// 3. negative indexes, defaults, method missing
const neg = (arr) => new Proxy(arr, { get: (t, k, r) => Reflect.get(t, /^-\d+$/.test(String(k)) ? t.length + Number(k) : k, r) });
console.log(neg([1, 2, 3])[-1], neg(['x', 'y'])[-2]);
const counter = new Proxy({}, { get: (t, k) => (k in t ? t[k] : 0) });
for (const ch of 'mississippi') counter[ch]++;
console.log(JSON.stringify(counter));
const api = new Proxy({}, { get: (_, m) => (...args) => `${m.replace(/[A-Z]/g, (c) => '/' + c.toLowerCase())}(${args})` });
console.log(api.getUsersById(7), api.postOrder('a', 'b'));
