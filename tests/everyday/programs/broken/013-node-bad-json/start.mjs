import { readFile } from 'node:fs/promises';

async function loadSettings(name) {
  const text = await readFile(new URL(`./${name}`, import.meta.url), 'utf8');
  return JSON.parse(text);
}

const settings = await loadSettings('settings.json');
console.log(`Starting ${settings.name} on port ${settings.port}`);
for (const feature of settings.features) console.log(' *', feature);
