import fs from 'fs/promises';
import path from 'path';
import { marked } from 'marked';
import Handlebars from 'handlebars';

const OUT = 'dist';

Handlebars.registerHelper('upper', (s) => s.toUpperCase());
Handlebars.registerHelper('list', (items, options) => '<ul>' + items.map((i) => `<li>${options.fn(i)}</li>`).join('') + '</ul>');

function frontMatter(source) {
  const m = /^---\n([\s\S]*?)\n---\n/.exec(source);
  if (!m) return { meta: {}, body: source };
  const meta = Object.fromEntries(m[1].split('\n').map((l) => l.split(/:\s*/, 2)));
  return { meta, body: source.slice(m[0].length) };
}

async function build() {
  const layout = Handlebars.compile(await fs.readFile('layout.hbs', 'utf8'));
  await fs.mkdir(OUT, { recursive: true });

  const files = (await fs.readdir('pages')).filter((f) => f.endsWith('.md')).sort();
  const pages = await Promise.all(
    files.map(async (f) => {
      const { meta, body } = frontMatter(await fs.readFile(path.join('pages', f), 'utf8'));
      return { ...meta, url: f.replace(/\.md$/, '.html'), html: marked.parse(body) };
    })
  );

  for (const page of pages) {
    const html = layout({ ...page, pages, content: page.html });
    await fs.writeFile(path.join(OUT, page.url), html);
    console.log(`built ${OUT}/${page.url} (${page.title})`);
  }
  console.log('\n' + (await fs.readFile(path.join(OUT, 'index.html'), 'utf8')));
}

build().catch((e) => {
  console.error(e);
  process.exit(1);
});
