// structuredClone
const original = { when: new Date(0), map: new Map([['k', new Set([1, 2])]]), nested: { list: [1, [2, [3]]] }, re: /x/gi };
original.self = original;
const copy = structuredClone(original);
copy.nested.list[1][1].push(4);
console.log(copy !== original, copy.self === copy, original.nested.list.flat(Infinity), copy.nested.list.flat(Infinity));
try {
  structuredClone({ fn() {} });
} catch (e) {
  console.log(e.name, e.code);
}

// WeakMap for private data, Symbol protocol methods
const secrets = new WeakMap();
class Money {
  constructor(amount, currency) {
    secrets.set(this, { created: 'hidden' });
    this.amount = amount;
    this.currency = currency;
    Object.freeze(this);
  }
  [Symbol.toPrimitive](hint) {
    return hint === 'string' ? `${this.amount} ${this.currency}` : this.amount;
  }
  get [Symbol.toStringTag]() { return 'Money'; }
  static [Symbol.hasInstance](x) { return x != null && 'amount' in Object(x) && 'currency' in Object(x); }
  [Symbol.for('nodejs.util.inspect.custom')]() { return `Money<${this.amount}>`; }
}
const m = new Money(5, 'EUR');
console.log(`${m}`, m + 1, m > 4, Object.prototype.toString.call(m), ({ amount: 1, currency: 'X' }) instanceof Money);
console.log(m, secrets.get(m));

// getters, setters, static blocks, inheritance
class Temperature {
  static #instances;
  static { Temperature.#instances = 0; }
  #c = 0;
  constructor(c) { this.celsius = c; Temperature.#instances++; }
  get celsius() { return this.#c; }
  set celsius(v) {
    if (v < -273.15) throw new RangeError('below absolute zero');
    this.#c = v;
  }
  get fahrenheit() { return this.#c * 1.8 + 32; }
  static count() { return this.#instances; }
  static isTemperature(o) { return #c in o; }
}
const t = new Temperature(25);
t.celsius += 5;
console.log(t.fahrenheit, Temperature.count(), Temperature.isTemperature(t), Temperature.isTemperature({}));

// destructuring, spread, optional chaining, nullish, logical assignment, labels, comma
const { a: { b: [, second = 'none', ...others] = [] } = {}, ...remaining } = { a: { b: [1, undefined, 3, 4] }, x: 1, y: 2 };
console.log(second, others, remaining);
const opts = { retries: 0, name: '' };
opts.retries ||= 3; opts.name ??= 'x'; opts.log?.('never'); opts.verbose &&= true;
console.log(opts, opts?.deep?.er ?? 'fallback', typeof undeclared, void 0);

// regex: named groups, lookbehind, sticky, matchAll, replace function, unicode sets
const text = 'Order #12: 3x tea @ $4.50, 10x cups @ $12.00';
for (const { groups: { qty, what, price } } of text.matchAll(/(?<qty>\d+)x (?<what>\w+) @ \$(?<price>[\d.]+)/g)) console.log(what, qty * price);
console.log(text.match(/(?<=#)\d+/)[0], text.replace(/\$(\d+)\.(\d+)/g, (_, d, c) => `${d},${c} €`), 'naïve café'.match(/\p{L}+/gu));
console.log('2024-03-09'.replace(/(?<y>\d+)-(?<m>\d+)-(?<d>\d+)/, '$<d>.$<m>.$<y>'), 'aXbXc'.split(/X/), /^[\w&&[^\d]]+$/v.test('abc'));

// numbers, dates, JSON
console.log(0.1 + 0.2, (0.1 + 0.2).toFixed(2), 0b101, 0o17, 0xff, 1e21, -0, Object.is(-0, 0), Number('  12 '), parseInt('08'), [10, 9, 1].sort());
console.log(JSON.stringify({ u: undefined, n: NaN, d: new Date(0), nested: [undefined, () => 1] }), JSON.parse('{"a":1}', (k, v) => (k === 'a' ? v + 1 : v)));
outer: for (const i of [1, 2, 3]) for (const j of [1, 2, 3]) { if (j === 2) continue outer; if (i === 3) break outer; console.log('label', i, j); }
