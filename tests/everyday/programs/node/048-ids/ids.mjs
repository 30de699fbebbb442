import { v4 as uuidv4, v5 as uuidv5, v7, validate, version, parse, stringify, NIL } from 'uuid';
import { nanoid, customAlphabet, customRandom } from 'nanoid';

// random ids: only their shape is stable
const random = Array.from({ length: 1000 }, () => uuidv4());
console.log('1000 v4, unique:', new Set(random).size === 1000, 'all valid:', random.every(validate), 'version:', version(random[0]));
const times = [v7(), v7(), v7()];
console.log('v7 sorted by time:', times.join() === [...times].sort().join());

// name based ids: always the same
const NS = uuidv5('https://example.com/catalog', uuidv5.URL);
for (const sku of ['mug', 'chair', 'mug']) console.log(sku.padEnd(6), uuidv5(sku, NS));

console.log(validate('not-a-uuid'), validate(NIL), stringify(parse(NS)) === NS);

console.log('nanoid length:', nanoid().length, nanoid(8).length);
const digits = customAlphabet('0123456789', 6);
console.log('pin ok:', /^\d{6}$/.test(digits()));

let seed = 42;
const lcg = (n) => Uint8Array.from({ length: n }, () => (seed = (seed * 1664525 + 1013904223) >>> 0) >>> 24);
const seeded = customRandom('abcdefghjkmnpqrstuvwxyz', 10, lcg);
console.log('seeded:', seeded(), seeded());

console.log('global crypto:', crypto.randomUUID().length);
