#!/usr/bin/env node
const { readFileSync } = require('fs');

const type = (v) => (v === null ? 'null' : Array.isArray(v) ? 'array' : typeof v);

function* diff(a, b, path = '$') {
  if (Object.is(a, b)) return;
  const ta = type(a), tb = type(b);
  if (ta !== tb || (ta !== 'object' && ta !== 'array')) {
    yield { op: 'changed', path, from: a, to: b };
    return;
  }
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  for (const key of keys) {
    const p = ta === 'array' ? `${path}[${key}]` : /^\w+$/.test(key) ? `${path}.${key}` : `${path}["${key}"]`;
    if (!Object.hasOwn(a, key)) yield { op: 'added', path: p, to: b[key] };
    else if (!Object.hasOwn(b, key)) yield { op: 'removed', path: p, from: a[key] };
    else yield* diff(a[key], b[key], p);
  }
}

const [fileA, fileB] = process.argv.slice(2);
if (!fileB) {
  console.error('usage: jsondiff <old.json> <new.json>');
  process.exit(2);
}

const [a, b] = [fileA, fileB].map((f) => {
  try {
    return JSON.parse(readFileSync(f, 'utf8'));
  } catch (e) {
    console.error(`${f}: ${e.message}`);
    process.exit(2);
  }
});

const short = (v) => {
  const s = JSON.stringify(v);
  return s.length > 40 ? s.slice(0, 37) + '...' : s;
};

const changes = [...diff(a, b)];
for (const c of changes) {
  if (c.op === 'added') console.log(`+ ${c.path}: ${short(c.to)}`);
  else if (c.op === 'removed') console.log(`- ${c.path}: ${short(c.from)}`);
  else console.log(`~ ${c.path}: ${short(c.from)} => ${short(c.to)}`);
}
console.log(changes.length ? `${changes.length} differences` : 'no differences');
process.exit(changes.length ? 1 : 0);
