import { readFile, writeFile } from "node:fs/promises";
import { compile, TemplateError } from "./engine.ts";

interface Invoice {
  customer: { name: string };
  note?: string;
  items: { name: string; price: number; sale?: boolean }[];
  footer: string;
}

async function main() {
  const render = compile<Invoice>(await readFile(new URL("./invoice.tpl", import.meta.url), "utf8"));
  const text = render({
    customer: { name: "Smile & Sons" },
    note: "handle <b>with</b> care",
    items: [{ name: "Lamp", price: 29.9 }, { name: "Bulb \"XL\"", price: 4, sale: true }],
    footer: "<hr>",
  });
  console.log(text);
  await writeFile("invoice.html", `<pre>${text}</pre>\n`);
  console.log(render({ customer: { name: "nobody" }, items: [], footer: "--" }));

  for (const bad of ["a\n{{#if x}}b", "{{/each}}", "one\ntwo {{x | shout}}"]) {
    try {
      compile(bad);
    } catch (e) {
      if (e instanceof TemplateError) console.log("error,", e.message);
    }
  }
}

main().catch((e) => { console.error(e); process.exitCode = 1; });
