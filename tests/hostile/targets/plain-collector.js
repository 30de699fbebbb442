// Brings a job's files back as it is usually done: every name below a folder, opened and read.
import { readFileSync, readdirSync } from 'node:fs'

const folder = process.argv[2]
const found = readdirSync(folder, { recursive: true, withFileTypes: true })
for (const entry of found) {
  if (entry.isDirectory()) continue
  try {
    const bytes = readFileSync(`${entry.parentPath}/${entry.name}`)
    console.log(`${entry.name}: ${bytes.length} ${bytes.toString('latin1', 0, 4096)}`)
  } catch (error) {
    console.log(`${entry.name}: ${error.message}`)
  }
}
