// SQL: values never end up in the text
export const sql = (strings, ...values) => ({
  text: strings.reduce((acc, s, i) => acc + `$${i}` + s),
  values,
});

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escapeHtml = (s) => String(s).replace(/[&<>"']/g, (c) => escapes[c]);

class SafeHtml extends String {}
const html = (strings, ...values) =>
  new SafeHtml(
    String.raw(
      { raw: strings },
      ...values.map((v) => {
        if (Array.isArray(v)) return v.map((x) => (x instanceof SafeHtml ? x : escapeHtml(x))).join('');
        return v instanceof SafeHtml ? v : escapeHtml(v ?? '');
      })
    )
  );

const dedent = (strings, ...values) => {
  const text = String.raw({ raw: strings }, ...values).replace(/^\n|\n\s*$/g, '');
  const indent = Math.min(...text.split('\n').filter((l) => l.trim()).map((l) => l.match(/^ */)[0].length));
  return text.split('\n').map((l) => l.slice(indent)).join('\n');
};

const name = "Robert'); DROP TABLE students;--";
console.log(sql`SELECT * FROM students WHERE name = ${name} AND year > ${2020}`);

const comments = [
  { by: 'kim', text: 'I <3 this' },
  { by: '<script>', text: '"quotes" & more' },
];
console.log(
  html`<ul>${comments.map((c) => html`<li><b>${c.by}</b>: ${c.text}</li>`)}</ul>`.toString()
);

console.log(dedent`
    Dear customer,
      your order #${42} is ready.

    Bye
`);

const money = (s, ...v) => s.reduce((out, part, i) => out + (typeof v[i - 1] === 'number' ? v[i - 1].toFixed(2) + '€' : v[i - 1]) + part);
console.log(money`${'Tea'} costs ${3.5} and ${'cake'} costs ${12}.`);
console.log(String.raw`C:\new\table has ${String.raw`\n`.length} characters in its newline`);
