import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

const filters = {
  upper: (s) => String(s).toUpperCase(),
  money: (n, cur = '$') => cur + Number(n).toFixed(2),
  truncate: (s, n) => (s.length > n ? s.slice(0, n - 1) + '…' : s),
  default: (v, d) => v ?? d,
};

export function compile(source, partials = {}) {
  const code = ['let out = "";'];
  for (const part of source.split(/(\{\{.*?\}\}|\{%.*?%\}\n?)/)) {
    if (part.startsWith('{{')) {
      const [expr, ...pipes] = part.slice(2, -2).split('|').map((s) => s.trim());
      const value = pipes.reduce((acc, p) => {
        const [, name, args] = /^(\w+)(?:\((.*)\))?$/.exec(p);
        return `filters.${name}(${acc}${args ? ', ' + args : ''})`;
      }, expr);
      code.push(`out += ${value} ?? "";`);
    } else if (part.startsWith('{%')) {
      const stmt = part.replace(/^\{%\s*|\s*%\}\n?$/g, '');
      const [word, ...rest] = stmt.split(/\s+/);
      if (word === 'if') code.push(`if (${rest.join(' ')}) {`);
      else if (word === 'else') code.push('} else {');
      else if (word === 'for') code.push(`for (const ${rest[0]} of ${rest.slice(2).join(' ')}) {`);
      else if (word.startsWith('end')) code.push('}');
      else if (word === 'include') code.push(`out += partials[${JSON.stringify(rest[0])}](ctx);`);
      else throw new SyntaxError(`unknown tag "${word}"`);
    } else if (part) {
      code.push(`out += ${JSON.stringify(part)};`);
    }
  }
  code.push('return out;');
  const fn = new Function('ctx', 'filters', 'partials', `with (ctx) { ${code.join('\n')} }`);
  return (ctx) => fn(ctx, filters, partials);
}

const templates = {};
for (const f of readdirSync(join(here, 'templates')).sort()) {
  templates[basename(f, '.txt')] = compile(readFileSync(join(here, 'templates', f), 'utf8'), templates);
}

const order = {
  customer: { name: 'kim', vip: true },
  items: [
    { title: 'A very long product name indeed', qty: 2, price: 12.5 },
    { title: 'Short', qty: 1, price: 3 },
  ],
  note: null,
};
process.stdout.write(templates.receipt(order));
process.stdout.write(templates.receipt({ ...order, items: [], customer: { name: 'lee', vip: false } }));

try {
  compile('{% loop x %}');
} catch (e) {
  console.log(e.name, e.message);
}
