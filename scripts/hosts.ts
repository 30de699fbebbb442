/**
 * Writes docs/hosts.md: on each kind of host, each made by taking the thing away, the wall that a job of each language gets and what
 * holds it. `node scripts/hosts.ts`, as root. tests/doors/hosts.test.ts compares what it finds with the page.
 */
import { writeFileSync } from 'node:fs'
import { cellOf, hosts, jobs, openDoor, placeOn } from '../tests/fixtures/hosts.ts'

const head = `# What holds a job on which host

Written by \`node scripts/hosts.ts\`, which makes each of these hosts by really taking the thing away (a seccomp filter on all of Mayfly, an
ordinary uid, an empty folder over the control groups, a bounding set of capabilities) and runs a job of each language there; those in
Python, Node and shells start children. \`tests/doors/hosts.test.ts\` does the same by the command line, HTTP and the library. A job that
gets no wall that holds ends \`unavailable\` with the code that stands here: nothing falls to less in silence.

The outcome of each run has its row of this table in \`enforced.layers\`; \`mayfly providers\` says what is missing and \`mayfly doctor\` how
to have it. Where bubblewrap is not installed, its rows are those of \`embedded\` with the layer \`landlock\`.

| host | language | wall, and the layers that hold |
|---|---|---|
`

const rows: string[] = []
for (const host of hosts) {
  const place = placeOn(host)
  try {
    await using door = await openDoor('http', place)
    for (const [language, { code }] of Object.entries(jobs)) {
      const cell = cellOf(await door.run({ language, code }))
      rows.push(`| ${host.name} | ${language} | ${cell} |`)
      console.error(rows.at(-1))
    }
  } finally {
    place.remove()
  }
}
writeFileSync(new URL('../docs/hosts.md', import.meta.url), `${head}${rows.join('\n')}\n`)
