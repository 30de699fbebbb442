#!/usr/bin/env node
import { parseArgs } from 'node:util';
import process from 'node:process';

const A = 'a'.charCodeAt(0);
const shiftLetter = (ch, k) => {
  const lower = ch.toLowerCase();
  const out = String.fromCharCode(((lower.charCodeAt(0) - A + k + 26 * 2) % 26) + A);
  return ch === lower ? out : out.toUpperCase();
};

const ciphers = {
  caesar: {
    encode: (t, key) => t.replace(/[a-z]/gi, (c) => shiftLetter(c, Number(key) % 26)),
    decode: (t, key) => t.replace(/[a-z]/gi, (c) => shiftLetter(c, -Number(key) % 26)),
  },
  vigenere: (() => {
    const run = (sign) => (t, key) => {
      let i = 0;
      return t.replace(/[a-z]/gi, (c) => shiftLetter(c, sign * (key.toLowerCase().charCodeAt(i++ % key.length) - A)));
    };
    return { encode: run(1), decode: run(-1) };
  })(),
  base64: { encode: (t) => btoa(t), decode: (t) => atob(t) },
  hex: { encode: (t) => Buffer.from(t).toString('hex'), decode: (t) => Buffer.from(t, 'hex').toString() },
  morse: {
    table: Object.fromEntries('a.- b-... c-.-. d-.. e. f..-. g--. h.... i.. j.--- k-.- l.-.. m-- n-. o--- p.--. q--.- r.-. s... t- u..- v...- w.-- x-..- y-.-- z--..'.split(' ').map((s) => [s[0], s.slice(1)])),
    encode(t) { return [...t.toLowerCase()].map((c) => this.table[c] ?? '/').join(' '); },
    decode(t) {
      const back = Object.fromEntries(Object.entries(this.table).map(([a, b]) => [b, a]));
      return t.split(' ').map((m) => back[m] ?? ' ').join('');
    },
  },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    cipher: { type: 'string', short: 'c', default: 'caesar' },
    key: { type: 'string', short: 'k', default: '3' },
    decode: { type: 'boolean', short: 'd', default: false },
    all: { type: 'boolean' },
  },
});

const text = positionals.join(' ');
const selected = values.all ? Object.keys(ciphers) : [values.cipher];
for (const name of selected) {
  const c = ciphers[name];
  if (!c) {
    console.error(`unknown cipher: ${name}`);
    process.exit(2);
  }
  const key = name === 'vigenere' && /\d/.test(values.key) ? 'lemon' : values.key;
  const out = values.decode ? c.decode(text, key) : c.encode(text, key);
  console.log(`${name.padEnd(9)}${out}`);
  if (!values.decode) console.log(`${'back'.padEnd(9)}${c.decode(out, key)}`);
}
