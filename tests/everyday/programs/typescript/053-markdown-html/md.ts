import * as fs from "node:fs";

type Inline = [RegExp, string | ((...m: string[]) => string)];
const INLINE: Inline[] = [
  [/&/g, "&amp;"],
  [/</g, "&lt;"],
  [/`([^`]+)`/g, "<code>$1</code>"],
  [/\*\*(.+?)\*\*/g, "<strong>$1</strong>"],
  [/\*(.+?)\*/g, "<em>$1</em>"],
  [/!\[(.*?)\]\((.*?)\)/g, '<img alt="$1" src="$2">'],
  [/\[(.*?)\]\((.*?)\)/g, (_m, text, href) => `<a href="${href}"${/^https?:/.test(href) ? ' rel="noopener"' : ""}>${text}</a>`],
];
const inline = (s: string) => INLINE.reduce((t, [re, by]) => t.replace(re, by as string), s);

interface Heading { level: number; text: string; id: string }

export function convert(md: string): { html: string; toc: Heading[] } {
  const out: string[] = [];
  const toc: Heading[] = [];
  const lines = md.split(/\r?\n/);
  let list: "ul" | "ol" | null = null;
  let para: string[] = [];

  const flush = () => {
    if (para.length) out.push(`<p>${inline(para.join(" "))}</p>`);
    para = [];
    if (list) out.push(`</${list}>`);
    list = null;
  };

  for (let i = 0; i < lines.length; i++) {
    const line = lines[i];
    let m: RegExpMatchArray | null;
    if (line.startsWith("```")) {
      flush();
      const lang = line.slice(3).trim();
      const code: string[] = [];
      while (++i < lines.length && !lines[i].startsWith("```")) code.push(lines[i]);
      out.push(`<pre><code${lang && ` class="language-${lang}"`}>${code.join("\n").replace(/</g, "&lt;")}</code></pre>`);
    } else if ((m = line.match(/^(#{1,6})\s+(.*)/))) {
      flush();
      const h: Heading = { level: m[1].length, text: m[2], id: m[2].toLowerCase().replace(/\W+/g, "-") };
      toc.push(h);
      out.push(`<h${h.level} id="${h.id}">${inline(h.text)}</h${h.level}>`);
    } else if ((m = line.match(/^(?:([-*])|\d+\.)\s+(.*)/))) {
      const kind = m[1] ? "ul" : "ol";
      if (list !== kind) {
        flush();
        out.push(`<${(list = kind)}>`);
      }
      out.push(`  <li>${inline(m[2])}</li>`);
    } else if (line.startsWith("> ")) {
      flush();
      out.push(`<blockquote>${inline(line.slice(2))}</blockquote>`);
    } else if (/^-{3,}$/.test(line)) {
      flush();
      out.push("<hr>");
    } else if (!line.trim()) flush();
    else para.push(line.trim());
  }
  flush();
  return { html: out.join("\n"), toc };
}

const [input = "sample.md", output = "out.html"] = process.argv.slice(2);
if (!fs.existsSync(input)) {
  console.error(`${input}: no such file`);
  process.exit(1);
}
const { html, toc } = convert(fs.readFileSync(input, { encoding: "utf8" }));
fs.writeFileSync(output, `<!doctype html>\n<meta charset="utf-8">\n<body>\n${html}\n</body>\n`);
console.log("Table of contents");
toc.forEach((h) => console.log(`${"  ".repeat(h.level)}- ${h.text} (#${h.id})`));
console.log(`\n${html}`);
