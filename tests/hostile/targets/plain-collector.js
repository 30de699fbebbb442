// Typical artifact collector: opens and reads every name below a folder.
import { readFileSync, readdirSync } from 'node:fs'

const [, , folder, result] = process.argv
show('result', result)
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (!entry.isDirectory()) show(entry.name, `${entry.parentPath}/${entry.name}`)
}

/**
 * @param {string} name
 * @param {string} file
 */
function show(name, file) {
  try {
    const bytes = readFileSync(file)
    console.log(`${name}: ${bytes.length} ${bytes.toString('latin1', 0, 4096)}`)
  } catch (error) {
    console.log(name, error instanceof Error && error.message)
  }
}
